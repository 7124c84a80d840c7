"""The step export: write the files that annotators and trainers take."""
