"""How good a selection is; docs/measures.md defines every figure."""
