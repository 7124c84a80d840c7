"""The score stage: compare the answers and losses of the arms."""
