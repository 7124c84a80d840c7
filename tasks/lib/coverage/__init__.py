"""Coverage of a pool by selected records: one greedy for `choose` and the baselines."""
