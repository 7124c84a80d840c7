"""The report's page: what each of its sections shows, and how it is drawn."""
