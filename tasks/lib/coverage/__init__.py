"""Coverage of a pool by selected records: the greedy search of `choose` and the baselines."""
