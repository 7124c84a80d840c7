"""The step validate: check that the selection is as requested."""
