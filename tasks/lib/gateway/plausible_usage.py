"""Check the usage that a provider reports against what is possible for its request."""

from tasks.lib.gateway.reply import Reply
from tasks.lib.gateway.request import Messages
from tasks.lib.gateway.token_count import fewest_tokens
from tasks.lib.journal.models import CallCost

BYTES_PER_TOKEN = 6  # of text in any language; only a lower count is worth a tokenizer's time
LEAST_COUNT = 64  # a lower prompt token count does not mean that a prompt was cut
COUNTED_CHARS = 2000  # of a text; some tokenizers take quadratic time over unusual ones


def impossible_usage(reply: Reply, messages: Messages, most: CallCost) -> str:
    """Return what is impossible about a reply's usage; empty if nothing is.

    Args:
        reply: The reply.
        messages: The question.
        most: The most tokens that the call can use.
    """
    prompt_tokens, completion_tokens = reply.prompt_tokens, reply.completion_tokens
    if prompt_tokens is None or completion_tokens is None:
        return ""
    prompt = "".join(message["content"] for message in messages)
    if prompt_tokens > most.prompt_tokens:
        return f"{prompt_tokens:,} tokens of a prompt with at most {most.prompt_tokens:,}"
    if prompt_tokens < LEAST_COUNT and _is_too_few(prompt_tokens, prompt):
        return f"{prompt_tokens:,} tokens of a prompt of {len(prompt):,} characters"
    if completion_tokens > most.completion_tokens:
        return f"{completion_tokens:,} tokens of a reply, and {most.completion_tokens:,} allowed"
    if _is_too_few(completion_tokens, reply.text):
        return f"{completion_tokens:,} tokens of a reply of {len(reply.text):,} characters"
    return ""


def _is_too_few(n_tokens: int, text: str) -> bool:
    """Return whether every tokenizer would give more tokens for a text."""
    n_bytes = len(text.encode(errors="replace"))
    return n_tokens * BYTES_PER_TOKEN < n_bytes and n_tokens < fewest_tokens(text[:COUNTED_CHARS])
