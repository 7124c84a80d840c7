"""The questions stage: read the test records."""
