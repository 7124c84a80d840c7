"""The export step, which writes the files that annotators and trainers use."""
