"""What a selection leaves behind: tables, receipts and the bill."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.llm.rounds import Method, Pick, Selection
from tasks.llm.routes import RUBRIC_MODEL, Route
from tasks.llm.shown import Shown


def pick_rows(selection: Selection, shown: Shown) -> Iterator[dict[str, Any]]:
    """The rows of `tasks.core.schemas.PICKS`."""
    ids = shown.ids(_candidates(selection.picks))
    for pick, record_id in zip(selection.picks, ids, strict=True):
        yield {"id": record_id, **_provenance(pick)}


def selected_table(selection: Selection, shown: Shown, route: Route) -> pa.Table:
    """The table of `tasks.core.schemas.SELECTED`."""
    candidates = _candidates(selection.selected)
    table = shown.pool.take(shown.rows[candidates])
    columns: dict[str, Any] = {
        name: [_provenance(pick)[name] for pick in selection.selected]
        for name in ("round", "prompt", "slot", "rank", "method")
    }
    columns["cluster"] = shown.clusters[candidates]
    columns["route"] = [route.alias] * len(candidates)
    columns["model"] = [_model(pick, route) for pick in selection.selected]
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    return table


def receipt_lines(selection: Selection, shown: Shown, route: Route) -> Iterator[str]:
    """One JSON object a line for each selected record, in their order: why it was selected.

    ``rivals`` are the other candidates of its prompt, in the order of their slots. ``answer`` is
    the key in the journal. Tokens and price are of the whole call, which the records that were
    picked by it share; a fallback used none, and its failed calls stand in the journal.
    """
    for pick in selection.selected:
        ids = shown.ids(pick.question.candidates)
        verdict = pick.verdict
        receipt = {
            "id": ids.pop(pick.slot - 1),
            **_provenance(pick),
            "rivals": ids,
            "answer": verdict.key,
            "route": route.alias,
            "model": _model(pick, route),
            "prompt_tokens": verdict.prompt_tokens,
            "completion_tokens": verdict.completion_tokens,
            "usd": verdict.usd,
        }
        yield json.dumps(receipt, ensure_ascii=False) + "\n"


def usage(selection: Selection, route: Route, budget: int) -> dict[str, Any]:
    """What the answers of all rounds used; failed calls are not in it.

    ``usd`` is None where the price of one answer is not known.
    """
    verdicts = [pick.verdict for pick in selection.picks if pick.rank == 1]
    answers = [verdict for verdict in verdicts if verdict.method is not Method.FALLBACK]
    prices = [verdict.usd for verdict in answers]
    known = [usd for usd in prices if usd is not None]
    methods = Counter(pick.verdict.method for pick in selection.selected)
    return {
        "route": route.alias,
        "model": route.deployment.model,
        "budget": budget,
        "calls": len(answers),
        "prompt_tokens": sum(verdict.prompt_tokens for verdict in answers),
        "completion_tokens": sum(verdict.completion_tokens for verdict in answers),
        "usd": round(sum(known), 9) if len(known) == len(prices) else None,
        "methods": {method.value: methods[method] for method in Method},
        "rounds": [this._asdict() for this in selection.rounds],
    }


def _candidates(picks: list[Pick]) -> np.ndarray[Any, np.dtype[np.intp]]:
    return np.array([pick.candidate for pick in picks], dtype=np.intp)


def _provenance(pick: Pick) -> dict[str, Any]:
    return {
        "round": pick.question.round,
        "prompt": pick.question.prompt,
        "slot": pick.slot,
        "rank": pick.rank,
        "method": pick.verdict.method.value,
    }


def _model(pick: Pick, route: Route) -> str:
    return RUBRIC_MODEL if pick.verdict.method is Method.FALLBACK else route.deployment.model
