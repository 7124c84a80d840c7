"""The first toy step."""
