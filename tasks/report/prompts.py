"""A few whole prompts: who stood in them, who was picked, and why."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tasks.report.inputs import Evidence, evenly, read_receipts
from tasks.report.labels import shorten

MAX_CANDIDATES = 40
MAX_CHARS = 1000  # of a candidate


def prompts(evidence: Evidence, n: int) -> list[dict[str, Any]]:
    """At most so many prompts of the first round, evenly along those that a selected record won.

    Each has its candidates in the order of their slots. Where none was selected, there is none.
    """
    picked = _picked(evidence)
    won = sorted({prompt for prompt, _ in picked})
    chosen = [won[place] for place in evenly(len(won), n)]
    receipts = _receipts(evidence, chosen)
    return [_prompt(evidence, number, picked, receipts) for number in chosen]


def _picked(evidence: Evidence) -> dict[tuple[int, str], Mapping[str, Any]]:
    """The picks of the first round that led to a selected record or stood beside one."""
    ids = set(evidence.selected["id"].to_pylist())
    rows = [row for row in evidence.picks.to_pylist() if row["round"] == 1]
    winning = {row["prompt"] for row in rows if row["id"] in ids}
    return {(row["prompt"], row["id"]): row for row in rows if row["prompt"] in winning}


def _receipts(evidence: Evidence, chosen: Sequence[int]) -> dict[str, Mapping[str, Any]]:
    """The receipts of what these prompts selected, by id."""
    wanted = set(chosen)
    shown = evidence.prompts
    asked = np.isin(shown["prompt"].to_numpy(), list(wanted))
    ids = set(shown["id"].filter(asked).to_pylist())
    return {each["id"]: each for each in read_receipts(evidence.receipt) if each["id"] in ids}


def _prompt(
    evidence: Evidence,
    number: int,
    picked: Mapping[tuple[int, str], Mapping[str, Any]],
    receipts: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    places = np.flatnonzero(evidence.prompts["prompt"].to_numpy() == number)
    rows = evidence.prompts.take(places).to_pylist()
    selected = set(evidence.selected["id"].to_pylist())
    aside: dict[str, str] = {}
    for row in rows:
        receipt = receipts.get(row["id"], {})
        aside |= receipt.get("set_aside", {}) if receipt.get("round") == 1 else {}
    candidates = [
        {
            "slot": row["slot"],
            "id": row["id"],
            "text": shorten(evidence.corpus.texts[evidence.shown[place]], MAX_CHARS),
            "pick": picked.get((number, row["id"])),
            "is_selected": row["id"] in selected,
            "receipt": receipts.get(row["id"]),
            "aside": aside.get(row["id"]),
        }
        for place, row in zip(places.tolist(), rows, strict=True)
    ]
    return {
        "number": number,
        "clusters": sorted({row["cluster"] for row in rows}),
        "n_candidates": len(rows),
        "n_picked": sum(each["pick"] is not None for each in candidates),
        "candidates": _bounded(candidates),
    }


def _bounded(candidates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most so many candidates, all that were picked among them, in the order of their slots."""
    wanted = sorted(candidates, key=lambda each: (each["pick"] is None, each["slot"]))
    return sorted(wanted[:MAX_CANDIDATES], key=lambda each: int(each["slot"]))
