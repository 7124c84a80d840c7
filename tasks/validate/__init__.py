"""The validate step: check that the selection is as requested."""
