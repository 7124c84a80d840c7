"""The step baseline: select by other methods, to compare with."""
