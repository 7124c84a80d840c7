"""The choose step, which selects those of the judge's favourites that cover the pool best."""
