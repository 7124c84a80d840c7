"""The fetch step, which copies a source that ingest cannot read in place."""
