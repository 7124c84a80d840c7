"""Report the cost of a run and the content of the journal, for the command line."""
