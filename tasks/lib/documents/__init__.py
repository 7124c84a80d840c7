"""The JSON documents that one stage writes and another reads, one module each."""
