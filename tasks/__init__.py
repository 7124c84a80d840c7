"""What the steps compute: one folder per step, and lib for shared code; no orchestrator."""
