"""List the columns of rows with their first cells; object keys count as columns."""

from collections.abc import Mapping, Sequence

from tasks.ingest.parse_turns import parse_text
from tasks.ingest.rows import Row

N_CELLS = 50  # examined in each column
MAX_DEPTH = 3  # of objects inside objects
MAX_INNER = 1000  # object keys


def cells_of(rows: Sequence[Row]) -> dict[str, list[object]]:
    """Return the first non-null cells of each column; object keys count as columns.

    Only the first `MAX_INNER` keys count, since objects may be keyed by ids.
    """
    cells: dict[str, list[object]] = {}
    max_names = len(names_of(rows)) + MAX_INNER
    for row in rows:
        for name, cell in row.items():
            known = cells.setdefault(name, [])
            if cell is None or len(known) >= N_CELLS:
                continue
            known.append(cell)
            _add_inner(cells, name, cell, MAX_DEPTH, max_names)
    return cells


def names_of(rows: Sequence[Row]) -> list[str]:
    """Return the distinct names of all columns."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _add_inner(
    cells: dict[str, list[object]], name: str, cell: object, depth: int, max_names: int
) -> None:
    inner = parse_text(cell) if isinstance(cell, str) and cell[:1] == "{" else cell
    if not isinstance(inner, Mapping) or not depth:
        return
    for key, value in inner.items():
        path = f"{name}.{key}"
        if value is not None and (path in cells or len(cells) < max_names):
            cells.setdefault(path, []).append(value)
            _add_inner(cells, path, value, depth - 1, max_names)
