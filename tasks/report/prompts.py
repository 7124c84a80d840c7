"""A few whole prompts: their candidates, the picks, and why they were picked."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tasks.lib.core.shown import shorten
from tasks.lib.documents.receipt import Receipt, read_receipts
from tasks.report.inputs import ReportInputs, evenly

MAX_CANDIDATES = 40
MAX_CHARS = 1000  # of a candidate


def prompts(inputs: ReportInputs, n: int) -> list[dict[str, Any]]:
    """Return at most `n` prompts of the first round, evenly spaced among those with a selection.

    Candidates are in the order of their slots.
    """
    picked = _picked(inputs)
    with_selected = sorted({prompt for prompt, _ in picked})
    chosen = [with_selected[place] for place in evenly(len(with_selected), n)]
    receipts = _receipts(inputs, chosen)
    return [_prompt(inputs, number, picked, receipts) for number in chosen]


def _picked(inputs: ReportInputs) -> dict[tuple[int, str], Mapping[str, Any]]:
    """Return the picks of the first round's prompts that have a selected record."""
    ids = set(inputs.selected["id"].to_pylist())
    rows = [row for row in inputs.picks.to_pylist() if row["round"] == 1]
    numbers = {row["prompt"] for row in rows if row["id"] in ids}
    return {(row["prompt"], row["id"]): row for row in rows if row["prompt"] in numbers}


def _receipts(inputs: ReportInputs, chosen: Sequence[int]) -> dict[str, Receipt]:
    """Return the receipts of the records that these prompts selected, by id."""
    is_chosen = np.isin(inputs.prompts["prompt"].to_numpy(), chosen)
    ids = set(inputs.prompts["id"].filter(is_chosen).to_pylist())
    return {r.id: r for r in read_receipts(inputs.receipts) if r.id in ids}


def _prompt(
    inputs: ReportInputs,
    number: int,
    picked: Mapping[tuple[int, str], Mapping[str, Any]],
    receipts: Mapping[str, Receipt],
) -> dict[str, Any]:
    places = np.flatnonzero(inputs.prompts["prompt"].to_numpy() == number)
    rows = inputs.prompts.take(places).to_pylist()
    selected = set(inputs.selected["id"].to_pylist())
    set_aside: dict[str, str] = {}
    for row in rows:
        receipt = receipts.get(row["id"])
        set_aside |= receipt.set_aside if receipt and receipt.round == 1 else {}
    candidates = [
        {
            "slot": row["slot"],
            "text": shorten(text, MAX_CHARS),
            "pick": picked.get((number, row["id"])),
            "is_selected": row["id"] in selected,
            "receipt": receipts.get(row["id"]),
            "set_aside": set_aside.get(row["id"]),
        }
        for text, row in zip(inputs.shown(row["id"] for row in rows), rows, strict=True)
    ]
    return {
        "number": number,
        "clusters": sorted({row["cluster"] for row in rows}),
        "n_candidates": len(rows),
        "n_picked": sum(candidate["pick"] is not None for candidate in candidates),
        "candidates": _shortened(candidates),
    }


def _shortened(candidates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep `MAX_CANDIDATES`, all picks among them, in the order of their slots."""
    picks_first = sorted(candidates, key=lambda c: (c["pick"] is None, c["slot"]))
    return sorted(picks_first[:MAX_CANDIDATES], key=lambda c: int(c["slot"]))
