"""The one way to a model: LiteLLM, retries, rate limits and the spending cap."""
