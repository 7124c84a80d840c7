"""Explain why replies that were paid for contain no answer, and what to do about it."""

from collections.abc import Iterator, Mapping

from tasks.lib.core.format_text import usd_text

_FORM = "Set schema: always on the route if its server accepts schemas, or choose a larger model."
_PROVIDER = "No action is needed unless this happens often; the call was repeated."

WITHOUT_ANSWER = {
    "cut_off": (
        "were cut off before the answer was complete, and were requested again with more room",
        "Raise thinking_tokens or lower reasoning_effort on the route.",
    ),
    "empty": (
        "had no text",
        "If the finish reason is length, raise thinking_tokens on the route, then run "
        "`selectllm journal retry-failed`.",
    ),
    "content_filter": (
        "were refused by the model or withheld by a filter",
        "`selectllm explain ID` shows a candidate that was set aside. A fallback route may accept "
        "it.",
    ),
    "no_list": ("had no list of slots", _FORM),
    "not_a_slot": ("named something other than slots", _FORM),
    "out_of_range": ("named slots that do not exist", _FORM),
    "repeated": ("named a slot twice", _FORM),
    "too_few": ("named too few slots", _FORM),
    "no_score": ("had no rating", _FORM),
    "not_a_half": ("had a rating that is not a half point", _FORM),
    "no_letter": (
        "had no slot's letter among the likeliest tokens",
        "Raise top_logprobs if the route's server allows it, or remove logprobs from the route.",
    ),
    "server": ("were interrupted by a provider error", _PROVIDER),
    "rate_limit": ("were interrupted by a rate limit", "Set rpm and tpm on the route."),
}
"""By reason: what is wrong with the replies, and the remedy."""


def explained(counts: Mapping[str, int]) -> Iterator[tuple[int, str, str]]:
    """Yield the number of replies, what is wrong with them, and the remedy, for each reason."""
    for reason, n in sorted(counts.items()):
        wrong, remedy = WITHOUT_ANSWER.get(reason, (f"failed: {reason}", ""))
        yield n, wrong, remedy


def silent_calls(counts: Mapping[str, int], usd: float) -> str:
    """Return how many calls got no reply, why, and what they may have cost; empty if none."""
    if not counts:
        return ""
    reasons = ", ".join(f"{n:,} {reason}" for reason, n in sorted(counts.items()))
    n = sum(counts.values())
    calls = f"{n:,} {'call' if n == 1 else 'calls'} got no readable reply ({reasons})"
    return f"{calls} and may have cost up to {usd_text(usd)} more" if usd else calls
