"""The fetch step: copy a source that ingest cannot read in place."""
