"""The step llm_select: let a model pick the most valuable records of each prompt."""
