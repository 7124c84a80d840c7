"""The cluster step: group the records and compose the prompts."""
