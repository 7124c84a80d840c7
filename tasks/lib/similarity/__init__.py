"""Measure the similarity of records by cosines, in the space of their vectors or their words."""
