"""Verify and explain a selection from the files of its run."""
