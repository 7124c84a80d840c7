"""What a selection leaves behind: tables and receipts."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.lib.core.schemas import PICKS, PROVENANCE, SELECTED
from tasks.lib.core.tables import write_table
from tasks.lib.gateway.deployment import RUBRIC_MODEL
from tasks.lib.gateway.routes import Route
from tasks.llm_select.candidates import Shown
from tasks.llm_select.verdicts import Method, Pick, Selection


def write_outcome(
    out: Callable[[str], Path],
    selection: Selection,
    shown: Shown,
    routes: Sequence[Route],
    bill: Mapping[str, Any],
) -> None:
    """Write all that a selection leaves behind to where `out` says."""
    write_table(out("llm_select/picks.parquet"), pick_rows(selection, shown), PICKS)
    write_table(
        out("llm_select/selected.parquet"), selected_table(selection, shown, routes), SELECTED
    )
    with out("llm_select/receipt.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(receipt_lines(selection, shown, routes))
    words = json.dumps(bill, indent=2, sort_keys=True) + "\n"
    out("llm_select/usage.json").write_text(words, encoding="utf-8")


def pick_rows(selection: Selection, shown: Shown) -> Iterator[dict[str, Any]]:
    """The rows of `tasks.lib.core.schemas.PICKS`."""
    ids = shown.ids(_candidates(selection.picks))
    for pick, record_id in zip(selection.picks, ids, strict=True):
        yield {"id": record_id, **_provenance(pick)}


def selected_table(selection: Selection, shown: Shown, routes: Sequence[Route]) -> pa.Table:
    """The table of `tasks.lib.core.schemas.SELECTED`."""
    candidates = _candidates(selection.selected)
    table = shown.pool.records(shown.rows[candidates])
    provenance = [_provenance(pick) | _judge(pick, routes) for pick in selection.selected]
    columns: dict[str, Any] = {name: [each[name] for each in provenance] for name in PROVENANCE}
    columns["cluster"] = shown.clusters[candidates]
    for name in ("route", "model"):
        columns[name] = [each[name] for each in provenance]
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values, SELECTED.field(name).type))
    return table


def receipt_lines(selection: Selection, shown: Shown, routes: Sequence[Route]) -> Iterator[str]:
    """One JSON object a line for each selected record, in their order: why it was selected.

    ``rivals`` are the other candidates of its prompt, in the order of their slots. ``answers`` are
    those that the prompt's picks rest on, with their keys in the journal; tokens and price are of
    whole calls, which the records picked by them share. A fallback rests on none.
    """
    for pick in selection.selected:
        ids = shown.ids(pick.question.candidates)
        verdict = pick.verdict
        receipt = {
            "id": ids[pick.slot - 1],
            **_provenance(pick),
            **_judge(pick, routes),
            "reason": verdict.reasons[pick.rank - 1],
            "rivals": ids[: pick.slot - 1] + ids[pick.slot :],
            "set_aside": {ids[each.slot - 1]: each.reason for each in verdict.aside},
            "ballots": [vote.ballot for vote in verdict.votes],
            "answers": [
                {
                    {"is_bound": "is_upper_bound"}.get(name, name): value
                    for name, value in each._asdict().items()
                    if name != "left_out"
                }
                for each in verdict.bought
            ],
        }
        yield json.dumps(receipt, ensure_ascii=False) + "\n"


def _candidates(picks: list[Pick]) -> np.ndarray[Any, np.dtype[np.intp]]:
    return np.array([pick.candidate for pick in picks], dtype=np.intp)


def _provenance(pick: Pick) -> dict[str, Any]:
    return {
        "round": pick.question.round,
        "prompt": pick.question.prompt,
        "slot": pick.slot,
        "rank": pick.rank,
        "votes": pick.n_votes,
        "method": pick.method.value,
    }


def _judge(pick: Pick, routes: Sequence[Route]) -> dict[str, str]:
    """The alias and model that made a pick: of the first answer, where several made it."""
    if pick.method is Method.FALLBACK:
        return {"route": routes[0].alias, "model": RUBRIC_MODEL}
    alias = pick.verdict.bought[0].route
    return {"route": alias, "model": next(r.model for r in routes if r.alias == alias)}
