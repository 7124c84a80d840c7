"""Describe what a selection cost."""

from tasks.lib.core.format_text import usd_text
from tasks.lib.documents.replies import silent_calls
from tasks.lib.documents.usage import Usage


def bill_line(usage: Usage) -> str:
    """Return the calls, tokens and price of a selection as one line of text."""
    tokens = usage.prompt_tokens + usage.completion_tokens
    paid = f"{usage.calls:,} calls to {usage.model}, {tokens:,} tokens, {usd_text(usage.usd)}"
    silent = silent_calls(usage.calls_without_reply, usage.usd_without_reply)
    return "; ".join(filter(None, (paid, silent)))
