"""The dedupe step: keep the first of each group of near-duplicates."""
