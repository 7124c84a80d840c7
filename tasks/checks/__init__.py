"""Checks of a whole run: the tables they look at, and what is expected of them."""
