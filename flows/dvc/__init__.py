"""Everything that talks to DVC: the graph, plans, overrides and workspaces."""
