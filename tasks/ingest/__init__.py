"""The ingest step: read the pool."""
