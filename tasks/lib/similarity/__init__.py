"""Measure how similar records are, in the space of their vectors or of their words."""
