"""Work with DVC: run it, plan runs, apply overrides, and make workspaces."""
