"""The steps, one folder each, and lib for their shared code; nothing here is an orchestrator."""
