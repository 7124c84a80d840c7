"""The offline judge, which prefers the typical texts of a prompt and uses no language model."""
