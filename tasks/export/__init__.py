"""The export step: write the files that annotators and trainers use."""
