"""How alike records are, by their words and by their vectors, and the records to be compared."""
