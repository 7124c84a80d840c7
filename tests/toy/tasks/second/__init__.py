"""The second toy step."""
