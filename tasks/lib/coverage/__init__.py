"""How well selected records cover a pool: the greedy search of `choose` and the baselines."""
