"""Proof of a selection, and the story of each record."""
