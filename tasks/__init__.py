"""The steps, one folder each, and their shared code in lib; none of it uses an orchestrator."""
