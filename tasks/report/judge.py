"""Show the cost of the answers, and what they say about the judge."""

from typing import Any

from tasks.lib.core.format_text import usd_text
from tasks.lib.documents.replies import explained, silent_calls
from tasks.lib.documents.usage import SlotChoices, Usage

METHODS = {
    "llm": "prompts judged by the model",
    "offline": "prompts judged by the offline judge, which is not a language model",
    "fallback": "prompts judged by the offline judge, because the model gave no answer",
}
MAX_P = 0.01  # the largest p-value that counts as evidence of position bias


def cost_rows(usage: Usage, n_selected: int) -> list[tuple[str, str]]:
    """Return rows with a name and a value: how many answers were used, and what they cost."""
    rows = [
        ("Route", usage.route),
        ("Model", usage.model),
        ("Fallback routes", ", ".join(usage.fallback_routes)),
        ("Answers used", f"{usage.calls:,}"),
        *((f"Answers by {route}", f"{n:,}") for route, n in sorted(usage.answers.items())),
        ("Input tokens", f"{usage.prompt_tokens:,}"),
        ("Input tokens from the provider's cache", _count(usage.cached_tokens)),
        ("Output tokens", f"{usage.completion_tokens:,}"),
        ("Output tokens for thinking", _count(usage.reasoning_tokens)),
        ("Price", usd_text(usage.usd)),
        *(
            (f"Replies that {wrong}", f"{n:,}. {remedy}")
            for n, wrong, remedy in explained(usage.replies_without_answer)
        ),
        ("Price of replies without an answer", _unit_price(usage.usd_without_answer, 1)),
        (
            "Calls without a reply",
            silent_calls(usage.calls_without_reply, usage.usd_without_reply),
        ),
        ("Price of a selected record", _unit_price(usage.usd, n_selected)),
        ("Replies whose usage is an upper bound", _count(usage.n_unknown_usage)),
        *((words.capitalize(), _count(usage.methods.get(m))) for m, words in METHODS.items()),
        *(
            (f"Set aside by the judge: {reason.replace('_', ' ')}", f"{n:,}")
            for reason, n in sorted(usage.set_aside.items())
        ),
        *(
            (f"Parameters that {route} does not accept", ", ".join(names))
            for route, names in sorted(usage.dropped_params.items())
        ),
    ]
    return [(name, value) for name, value in rows if value]


def slot_chart(slots: SlotChoices) -> dict[str, Any] | None:
    """Return observed and expected first choices by slot; None if there are none."""
    if not slots.n_prompts or not slots.observed:
        return None
    highest = max(*slots.observed, *slots.expected)
    bars = [
        {
            "slot": slot,
            "observed": observed,
            "expected": expected,
            "height": round(100 * observed / highest, 2),
            "mark": round(100 * expected / highest, 2),
        }
        for slot, (observed, expected) in enumerate(
            zip(slots.observed, slots.expected, strict=True), 1
        )
    ]
    return {"bars": bars, "conclusion": _conclusion(slots)}


def _conclusion(slots: SlotChoices) -> str:
    if not slots.is_shuffled:
        return "In paper mode slots are clusters, so this says nothing about the judge."
    if slots.p_value is None:
        return "There are too few prompts to distinguish position bias from chance."
    p = f"p = {slots.p_value:.2g}"
    if slots.p_value <= MAX_P:
        return f"The judge prefers some slots ({p}); chance alone would rarely look like this."
    return f"No sign of position bias ({p})."


def _unit_price(usd: float, n_selected: int) -> str:
    return usd_text(usd / n_selected) if usd and n_selected else ""


def _count(n: int | None) -> str:
    return f"{n:,}" if n else ""
