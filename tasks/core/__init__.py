"""What every step stands on: parameters, records, tables, errors and the shell around a step."""
