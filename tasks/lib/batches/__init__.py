"""Buy the answers to many questions in batches, which cost less than single calls."""
