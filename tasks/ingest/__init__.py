"""The ingest step, which reads the pool."""
