"""The steps, one folder each, and lib for their shared code; none of it uses an orchestrator."""
