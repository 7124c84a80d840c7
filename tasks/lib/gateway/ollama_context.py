"""Ask Ollama for a context that is large enough, since it silently truncates longer prompts."""

from collections.abc import Iterable

from tasks.lib.gateway.deployment_settings import Deployment
from tasks.lib.gateway.routes import Route

CHARS_PER_TOKEN = 4.0
"""For English text; Dolly has 4.3. Other languages have fewer, but few texts are full length."""
LEAST_CONTEXT = 4096  # Ollama's default on a small GPU


def context_size(n_tokens: int) -> int:
    """Return the context size for a prompt and its reply: a power of two."""
    return max(LEAST_CONTEXT, 1 << max(0, n_tokens - 1).bit_length())


def with_contexts(routes: Iterable[Route], n_chars: int, max_answer_tokens: int) -> list[Route]:
    """Return the routes; those to Ollama without a num_ctx get one for the longest prompt.

    It depends on the parameters alone, not on the texts: Ollama reloads a model whenever the size
    changes, and the size is part of each answer's key.

    Args:
        routes: The routes of a run.
        n_chars: The number of characters in the longest prompt that the parameters allow.
        max_answer_tokens: The step's room for an answer.
    """

    def sized(deployment: Deployment) -> Deployment:
        if not deployment.provider.startswith("ollama") or deployment.num_ctx is not None:
            return deployment
        answer = deployment.max_answer_tokens or max_answer_tokens
        needed = int(n_chars / CHARS_PER_TOKEN) + answer + (deployment.thinking_tokens or 0)
        return deployment.model_copy(update={"num_ctx": context_size(needed)})

    return [route._replace(deployments=tuple(map(sized, route.deployments))) for route in routes]
