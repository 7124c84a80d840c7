"""The judge stage: have a model compare and grade the answers."""
