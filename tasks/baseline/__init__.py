"""The baseline step, which selects by other methods for comparison."""
