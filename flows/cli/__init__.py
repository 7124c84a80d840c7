"""The `selectllm` command and what it prints."""
