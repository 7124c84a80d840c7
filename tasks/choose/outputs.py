"""Write the outputs of choose: the selection, and a receipt for each selected record."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.lib.core.schemas import BALLOTS, POOL, SELECTED
from tasks.lib.core.tables import read_batches, write_table
from tasks.lib.documents.judgement import Judgement
from tasks.lib.documents.receipt import Receipt
from tasks.lib.pool_columns import as_label, cells_of
from tasks.lib.similarity.cosine import Rows

BATCH_ROWS = 8192  # pool rows in memory at a time
_FROM_BALLOTS = [name for name in BALLOTS.names if name in SELECTED.names and name != "id"]
_FROM_JUDGEMENT = ("route", "model", "ballots", "answers")


def write_outputs(  # noqa: PLR0913  the sources of the selected records
    out: Callable[[str], Path],
    pool_file: Path,
    pool_rows: Rows,
    chosen: pa.Table,
    judgements: Mapping[int, Judgement],
    *,
    quota_columns: Sequence[str],
) -> None:
    """Write the selection and its receipts.

    Args:
        out: Returns where to write an output.
        pool_file: The pool.
        pool_rows: intp, shape (n,), each record's row in the pool, in order of selection.
        chosen: The ballots, gain, weight and cluster of each of these records.
        judgements: Judgements by prompt, at least for the prompts of the selected records.
        quota_columns: The columns that have a quota.
    """
    table = read_records(pool_file, pool_rows)
    for name in (*_FROM_BALLOTS, "gain", "cluster"):
        table = table.append_column(SELECTED.field(name), chosen[name])
    by_row = [judgements[int(prompt)] for prompt in chosen["prompt"].to_numpy()]
    for name in ("route", "model"):
        values = pa.array([getattr(judgement, name) for judgement in by_row], pa.string())
        table = table.append_column(SELECTED.field(name), values)
    write_table(out("choose/selected.parquet"), table, SELECTED)
    with out("choose/receipt.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        rows = zip(chosen.to_pylist(), by_row, table.to_pylist(), strict=True)
        for place, (row, judgement, record) in enumerate(rows, 1):
            cells = cells_of(record)
            counts_for = {column: as_label(cells.get(column)) for column in quota_columns}
            file.write(_receipt(place, row, judgement, counts_for).to_line())


def read_records(pool_file: Path, rows: Rows) -> pa.Table:
    """Return these rows of the pool, in order; the file is read in batches."""
    order = np.argsort(rows, kind="stable")
    ascending = rows[order]
    batches, first = [], 0
    for batch in read_batches(pool_file, POOL, POOL.names, BATCH_ROWS):
        low, high = np.searchsorted(ascending, [first, first + len(batch)])
        batches.append(batch.take(ascending[low:high] - first))
        first += len(batch)
    return pa.Table.from_batches(batches, POOL).take(np.argsort(order))


def _receipt(
    place: int, row: Mapping[str, Any], judgement: Judgement, counts_for: dict[str, str | None]
) -> Receipt:
    names = (*_FROM_BALLOTS, "id", "gain", "weight")
    return Receipt(
        place=place,
        counts_for=counts_for,
        **{name: row[name] for name in names},
        **{name: getattr(judgement, name) for name in _FROM_JUDGEMENT},
        reason=judgement.reasons.get(row["slot"]),
        rivals=tuple(other for other in judgement.ids if other != row["id"]),
        set_aside={judgement.ids[slot - 1]: why for slot, why in judgement.set_aside.items()},
    )
