"""The outputs of a selection: tables and receipts."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.lib.core.schemas import PICKS, PROVENANCE, SELECTED
from tasks.lib.core.tables import write_table
from tasks.lib.documents.receipt import AnswerReceipt, Receipt
from tasks.lib.documents.usage import Usage
from tasks.lib.gateway.deployment import OFFLINE_MODEL
from tasks.lib.gateway.routes import Route
from tasks.llm_select.candidates import Candidates
from tasks.llm_select.verdicts import Pick, PickMethod, Selection


def write_outputs(
    out: Callable[[str], Path],
    selection: Selection,
    candidates: Candidates,
    routes: Sequence[Route],
    usage: Usage,
) -> None:
    """Write all outputs of a selection; `out` returns the path of each."""
    write_table(out("llm_select/picks.parquet"), pick_rows(selection, candidates), PICKS)
    selected = selected_table(selection, candidates, routes)
    write_table(out("llm_select/selected.parquet"), selected, SELECTED)
    with out("llm_select/receipt.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        for receipt in receipts(selection, candidates, routes):
            file.write(receipt.to_line())
    usage.write(out("llm_select/usage.json"))


def pick_rows(selection: Selection, candidates: Candidates) -> Iterator[dict[str, Any]]:
    """Yield the rows of `tasks.lib.core.schemas.PICKS`."""
    ids = candidates.ids(_members(selection.picks))
    for pick, record_id in zip(selection.picks, ids, strict=True):
        yield {"id": record_id, **_provenance(pick)}


def selected_table(
    selection: Selection, candidates: Candidates, routes: Sequence[Route]
) -> pa.Table:
    """Return the table of `tasks.lib.core.schemas.SELECTED`."""
    members = _members(selection.selected)
    table = candidates.pool.records(candidates.rows[members])
    rows = [_provenance(pick) | _judge(pick, routes) for pick in selection.selected]
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in PROVENANCE}
    columns["cluster"] = candidates.clusters[members]
    for name in ("route", "model"):
        columns[name] = [row[name] for row in rows]
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values, SELECTED.field(name).type))
    return table


def receipts(
    selection: Selection, candidates: Candidates, routes: Sequence[Route]
) -> Iterator[Receipt]:
    """Yield a receipt for each selected record, in their order."""
    for pick in selection.selected:
        ids = candidates.ids(pick.question.candidates)
        verdict = pick.verdict
        yield Receipt(
            id=ids[pick.slot - 1],
            **_provenance(pick),
            **_judge(pick, routes),
            reason=verdict.reasons[pick.rank - 1],
            rivals=(*ids[: pick.slot - 1], *ids[pick.slot :]),
            set_aside={ids[slot - 1]: reason for slot, reason in verdict.set_aside.items()},
            ballots=tuple(ballot.ranking for ballot in verdict.ballots),
            answers=tuple(
                AnswerReceipt(
                    **{name: getattr(answer, name) for name in AnswerReceipt.model_fields}
                )
                for answer in verdict.answers
            ),
        )


def _members(picks: list[Pick]) -> np.ndarray[Any, np.dtype[np.intp]]:
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
    """Return the route and model of a pick: those of its first answer, if it has several."""
    if pick.method is PickMethod.FALLBACK:
        return {"route": routes[0].alias, "model": OFFLINE_MODEL}
    alias = pick.verdict.answers[0].route
    return {"route": alias, "model": next(r.model for r in routes if r.alias == alias)}
