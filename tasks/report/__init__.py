"""The report step: show the whole run on one page."""
