"""The step validate: check that the selection is what was asked for."""
