"""Calls to models: LiteLLM, retries, rate limits and the spending cap."""
