"""The llm_select step: let a model rank the most valuable records of each prompt."""
