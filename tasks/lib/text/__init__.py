"""Words and shingles of a text, and what differs between two texts."""
