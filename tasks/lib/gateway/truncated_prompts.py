"""Notice an endpoint that silently truncates prompts to fit its context, as Ollama does.

A ranking of candidates that the model has not read must not pass for an answer. The only trace is
the number of prompt tokens that the endpoint reports.
"""

from tasks.lib.gateway.errors import ErrorKind, ProviderError
from tasks.lib.gateway.ollama_context import context_size
from tasks.lib.gateway.plausible_usage import BYTES_PER_TOKEN, LEAST_COUNT
from tasks.lib.gateway.reply import Reply
from tasks.lib.gateway.request import Request
from tasks.lib.gateway.token_count import FEWEST_SHARE, fewest_tokens

SAME_COUNTS = 5  # calls with the highest count so far that show a ceiling
SPREAD = 1.15  # between the longest and the shortest of their prompts


class CutWatch:
    """Watches the token counts that one deployment reports.

    Args:
        num_ctx: The context size that the route asks for, if any.
    """

    def __init__(self, num_ctx: int | None = None) -> None:
        self._num_ctx = num_ctx
        self._highest = 0
        self._keys: set[str] = set()  # of the first requests with this count
        self._sizes = (0, 0)  # the bytes of the shortest and the longest prompt with this count

    def notice(self, request: Request, reply: Reply) -> ProviderError | None:
        """Return an error if the endpoint has read only part of a prompt."""
        n = reply.prompt_tokens
        if n is None or n < LEAST_COUNT:
            return None
        contents = [message["content"] for message in request.messages]
        n_bytes = sum(len(content.encode()) for content in contents)
        if n * BYTES_PER_TOKEN < n_bytes:
            fewest = sum(map(fewest_tokens, contents))
            if n < fewest:
                words = f"{n:,} tokens were read of a prompt with {fewest:,} or more"
                return _cut(words, int(fewest / FEWEST_SHARE) + request.max_tokens)
        if self._num_ctx and n >= self._num_ctx:
            return _cut(f"a prompt fills the context of {n:,} tokens", 2 * n)
        if self._is_ceiling(n, request.key, n_bytes):
            return _cut(f"prompts of different lengths all count as {n:,} tokens", 2 * n)
        return None

    def _is_ceiling(self, n: int, key: str, n_bytes: int) -> bool:
        """Record a count; return whether it is the highest and many different prompts share it."""
        if n > self._highest:
            self._highest, self._keys, self._sizes = n, set(), (n_bytes, n_bytes)
        if n == self._highest:
            if len(self._keys) < SAME_COUNTS:
                self._keys.add(key)
            self._sizes = min(*self._sizes, n_bytes), max(*self._sizes, n_bytes)
        shortest, longest = self._sizes
        return len(self._keys) >= SAME_COUNTS and longest > SPREAD * shortest


def _cut(words: str, n_needed: int) -> ProviderError:
    needed = f"a context of {context_size(n_needed):,} tokens would be enough"
    return ProviderError(ErrorKind.CUT_PROMPT, f"{words}; {needed}")
