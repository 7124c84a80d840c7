"""What the answers cost, and what they say of the judge that gave them."""

from collections.abc import Mapping
from typing import Any

from tasks.report.labels import usd

WAYS = {
    "llm": "picked by the model",
    "rubric": "picked by the offline rubric, which is no language model",
    "fallback": "picked by the offline rubric, where the model gave no answer",
}


def ledger(usage: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was asked and what it cost, a name and a value a row."""
    n_selected = usage["selected"]
    n_calls = usage["calls"]
    rows = [
        ("Route", usage["route"]),
        ("Model", usage["model"]),
        ("Fallback routes", ", ".join(usage["fallback_routes"])),
        ("Answers used", f"{n_calls:,}"),
        *((f"Answers by {route}", f"{n:,}") for route, n in sorted(usage["answers"].items())),
        ("Tokens in", f"{usage['prompt_tokens']:,}"),
        ("Tokens out", f"{usage['completion_tokens']:,}"),
        ("Price", usd(usage["usd"])),
        ("Price of a selected record", _each(usage["usd"], n_selected)),
        ("Answers whose usage is an upper bound", _some(usage["n_unknown_usage"])),
        *((words.capitalize(), _some(usage["methods"].get(way))) for way, words in WAYS.items()),
        *(
            (f"Set aside by the judge: {why.replace('_', ' ')}", f"{n:,}")
            for why, n in sorted(usage["set_aside"].items())
        ),
        *(
            (f"Not understood by {route}", ", ".join(names))
            for route, names in sorted(usage["dropped_params"].items())
        ),
    ]
    return [(name, value) for name, value in rows if value]


def slots(usage: Mapping[str, Any]) -> dict[str, Any] | None:
    """First choices by slot beside what a judge blind to slots gives; None without any."""
    found = usage["slots"]
    if not found["n_prompts"] or not found["observed"]:
        return None
    highest = max(*found["observed"], *found["expected"])
    bars = [
        {
            "slot": slot,
            "observed": observed,
            "expected": expected,
            "height": round(100 * observed / highest, 2),
            "mark": round(100 * expected / highest, 2),
        }
        for slot, (observed, expected) in enumerate(
            zip(found["observed"], found["expected"], strict=True), 1
        )
    ]
    return {**found, "bars": bars, "verdict": _slot_verdict(found)}


def attention_checks(usage: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each kind of planted junk how often it was shown, and picked."""
    return [{"kind": kind, **found} for kind, found in sorted(usage["attention_checks"].items())]


def _slot_verdict(found: Mapping[str, Any]) -> str:
    p = found["p_value"]
    if not found["is_shuffled"]:
        return "In mode paper slots are clusters, so this says nothing of the judge."
    if p is None:
        return "There are too few prompts to tell a habit from chance."
    if p <= 0.01:
        return (
            f"The judge goes by the slot (p = {p:.2g}): chance alone hardly ever looks like this."
        )
    return f"No sign that the judge goes by the slot (p = {p:.2g})."


def _each(price: float | None, n: int) -> str:
    return usd(price / n) if price and n else ""


def _some(n: int | None) -> str:
    return f"{n:,}" if n else ""
