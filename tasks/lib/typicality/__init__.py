"""The keyless judge: it prefers the typical texts of a prompt, and no language model is needed."""
