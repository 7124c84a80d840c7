"""What a run would cost, and what the journal holds, for the command line."""
