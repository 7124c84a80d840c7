"""The validate step, which checks that the selection is as requested."""
