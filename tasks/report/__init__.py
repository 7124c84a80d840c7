"""The step report: show the whole run on one page."""
