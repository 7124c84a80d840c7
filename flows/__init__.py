"""Run the steps in order, retry them, and report the result."""
