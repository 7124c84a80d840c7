"""The report step, which shows the whole run on one page."""
