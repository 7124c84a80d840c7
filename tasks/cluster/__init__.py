"""The cluster step, which groups the records and composes the prompts."""
