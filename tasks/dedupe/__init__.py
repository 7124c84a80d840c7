"""The step dedupe: keep the first of each group of near-duplicates."""
