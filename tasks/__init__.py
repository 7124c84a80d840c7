"""WHAT each step computes: one module a step, one folder a subject. Knows no orchestrator."""
