"""Rebuild and explain a selection from what it left behind."""
