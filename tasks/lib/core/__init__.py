"""What every step needs: parameters, tables, declared paths, locks, events and errors."""
