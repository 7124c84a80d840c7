"""WHEN the steps run, how often again, and who is told."""
