"""The baseline step: select by other methods, for comparison."""
