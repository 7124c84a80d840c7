"""How well selected records cover a pool: the greedy search that `choose` and the baselines use."""
