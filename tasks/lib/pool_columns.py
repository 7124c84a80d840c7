"""The pool's own columns, such as a category, by which a selection can be steered."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.lib.core.errors import ParamError, nearest
from tasks.lib.core.params import PARAMS_FILE
from tasks.lib.core.schemas import POOL
from tasks.lib.core.tables import read_batches

SOURCE = "source"  # a record's file, without the line number
BATCH_ROWS = 8192  # pool rows in memory at a time
MAX_NAMES = 20  # columns that a message lists


def read_columns(
    pool_file: Path, names: Mapping[str, str], rows: NDArray[np.integer[Any]]
) -> dict[str, list[Any]]:
    """Return the values of some of the pool's own columns, with None where a record has no value.

    Args:
        pool_file: The pool.
        names: The names of the columns, each with the parameter that names it.
        rows: integers, shape (n,), the rows of the pool whose values are returned, in order.

    Raises:
        ParamError: A column occurs in no record (the error suggests the nearest known column).
    """
    if not names:
        return {}
    values: dict[str, list[Any]] = {name: [] for name in names}
    known: dict[str, None] = {SOURCE: None}
    for batch in read_batches(pool_file, POOL, ["source", "extra"], BATCH_ROWS):
        for row in batch.to_pylist():
            cells = cells_of(row)
            known |= dict.fromkeys(cells)
            for name, column in values.items():
                column.append(cells.get(name))
    for name, param in names.items():
        if name not in known:
            raise ParamError(
                f"{param}: no record has the column {name}{nearest(name, known)}",
                where=PARAMS_FILE,
                fix=f"Known columns: {_list(list(known))}.",
            )
    return {name: [column[row] for row in rows] for name, column in values.items()}


def read_weights(
    pool_file: Path, column: str, rows: NDArray[np.integer[Any]], param: str
) -> NDArray[np.float64]:
    """Return a column of non-negative weights: float64, shape (n,), in the order of `rows`.

    Raises:
        ParamError: No record has the column, some of its values are missing, negative or not
            numbers (the error says how many), or all weights are 0.
    """
    values = read_columns(pool_file, {column: param}, rows)[column]
    wrong = [(row, value) for row, value in zip(rows, values, strict=True) if not _is_weight(value)]
    if wrong or not any(values):
        what = "all weights are 0"
        if wrong:
            row, value = wrong[0]
            what = (
                f"expected a number of at least 0, but {len(wrong):,} of {len(values):,} records "
                f"have none; the first is row {row + 1:,} of the pool, with "
                f"{as_label(value) or 'no value'}"
            )
        raise ParamError(
            f"{param}: {column}: {what}",
            where=PARAMS_FILE,
            fix=f"Correct the column in the source, or set {param} to null.",
        )
    return np.array(values, np.float64)


def cells_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cells of a record's own columns, plus the file that the record comes from."""
    cells: dict[str, Any] = json.loads(row["extra"])
    return cells | {SOURCE: row["source"].rpartition(":")[0]}


def as_label(value: object) -> str | None:
    """Return the text by which values are compared: 3 and "3" are equal. None stays None."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _is_weight(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and value >= 0


def _list(names: list[str]) -> str:
    n_more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {n_more} more" if n_more > 0 else "")
