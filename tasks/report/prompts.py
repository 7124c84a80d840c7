"""Show a few whole prompts: the candidates, how the judge ranked them, and which were selected."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.lib.core.shown_text import shorten
from tasks.lib.documents.judgement import Judgement, read_judgements
from tasks.lib.similarity.cosine import Rows
from tasks.report.inputs import ReportInputs, evenly

MAX_CANDIDATES = 40
MAX_CHARS = 1000  # of a candidate


def prompts(inputs: ReportInputs, n: int) -> list[dict[str, Any]]:
    """Return at most `n` prompts, evenly spaced among those with a selected record.

    Candidates are in slot order.
    """
    with_selected = np.unique(inputs.selected["prompt"].to_numpy()).tolist()
    chosen = {with_selected[place] for place in evenly(len(with_selected), n)}
    lines = (line for line in read_judgements(inputs.judgements) if line.prompt in chosen)
    return [_prompt(inputs, line) for line in lines]


def _prompt(inputs: ReportInputs, judgement: Judgement) -> dict[str, Any]:
    number = judgement.prompt
    places = np.flatnonzero(inputs.prompts["prompt"].to_numpy() == number)
    clusters = inputs.prompts["cluster"].take(places).to_pylist()
    is_here = pc.equal(inputs.ballots["prompt"], pa.scalar(number, pa.int32()))
    rows = inputs.ballots.filter(is_here).to_pylist()
    places_of = {id_: i for i, id_ in enumerate(inputs.selected["id"].to_pylist(), 1)}
    by_id = dict(
        zip(inputs.prompts["id"].take(places).to_pylist(), _covers(inputs, places), strict=True)
    )
    candidates = [
        _candidate(row, judgement, places_of.get(row["id"]))
        | {"text": shorten(text, MAX_CHARS), "covered_by": by_id[row["id"]]}
        for text, row in zip(inputs.shown(row["id"] for row in rows), rows, strict=True)
    ]
    return {
        "number": number,
        "model": judgement.model,
        "clusters": sorted(set(clusters)),
        "n_candidates": len(candidates),
        "n_selected": sum(candidate["place"] is not None for candidate in candidates),
        "candidates": _shortened(candidates),
    }


def _candidate(row: Mapping[str, Any], judgement: Judgement, place: int | None) -> dict[str, Any]:
    """Return a candidate's ballots, the judge's reason, and its place in the selection, if any."""
    return {**row, "reason": judgement.reasons.get(row["slot"]), "place": place}


def _covers(inputs: ReportInputs, places: Rows) -> list[tuple[int, float]]:
    """Return, for each candidate, the place of the most similar selected record, and its cosine."""
    found = inputs.cover(inputs.prompt_rows[places])
    return list(zip((found.places + 1).tolist(), found.cosines.tolist(), strict=True))


def _shortened(candidates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep `MAX_CANDIDATES` candidates, preferring selected, then ranked ones; sort by slot."""

    def selected_first(candidate: Mapping[str, Any]) -> tuple[bool, bool, int]:
        return candidate["place"] is None, candidate["rank"] is None, candidate["slot"]

    kept = sorted(candidates, key=selected_first)[:MAX_CANDIDATES]
    return sorted(kept, key=lambda candidate: int(candidate["slot"]))
