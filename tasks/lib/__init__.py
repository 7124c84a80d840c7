"""What several steps share. Each room imports only rooms below it: core first, gateway last."""
