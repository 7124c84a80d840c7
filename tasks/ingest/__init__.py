"""The step ingest: read the pool."""
