"""Ways to choose records: what a selection is held against."""
