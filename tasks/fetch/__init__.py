"""The step fetch: copy a source that ingest cannot read in place."""
