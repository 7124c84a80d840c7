"""The step cluster: group the records and compose the prompts."""
