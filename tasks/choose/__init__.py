"""The choose step: select the records that cover the pool best, among those the judge prefers."""
