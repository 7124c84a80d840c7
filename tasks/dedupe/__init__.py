"""The dedupe step, which keeps the first of each group of near-duplicates."""
