"""Find the record that a user names: by id or id prefix, by the pool's own id, or by line."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.compute as pc

from tasks.audit.dvc_lock import Lock
from tasks.lib.core.errors import DataError, ParamError
from tasks.lib.core.schemas import INGEST_DROPPED, POOL
from tasks.lib.core.tables import read_table

N_OFFERED = 3
MIN_DIGITS = 4  # in an id prefix

_LINE = re.compile(r"line:(?:(.+):)?(\d{1,12})")
_OWN_ID = re.compile(r"(?:id|idx|key|hash)$")
_ID = re.compile(rf"[0-9a-f]{{{MIN_DIGITS},16}}")


class Named(NamedTuple):
    """A record in the pool, or a row that ingest dropped."""

    id: str | None
    dropped: dict[str, Any] | None = None  # file, line, reason and detail


def find(lock: Lock, name: str) -> Named:
    """Return the record or row with this name: an id or id prefix, the pool's own id, or a line.

    A line is written ``line:N``, or ``line:FILE:N`` if the source has several files. The pool's own
    id is a cell in a column that is named like an id. It takes precedence over an id prefix.

    Raises:
        ParamError: No record has this name, or more than one.
        DataError: The pool is missing.
    """
    pool = lock.out("ingest/pool.parquet")
    line = _LINE.fullmatch(name)
    return _at_line(lock, pool, line[1], int(line[2])) if line else Named(_record(pool, name))


def _record(pool: Path, name: str) -> str:
    ids: list[str] = read_table(pool, POOL, ["id"]).to_pydict()["id"]
    plain = name.lower()
    if plain in set(ids):
        return plain
    own = _with_own_id(pool, name)
    matches = own or [record_id for record_id in ids if record_id.startswith(plain)]
    if len(matches) == 1 and (own or _ID.fullmatch(plain)):
        return matches[0]
    if own:
        what = f"{name!r} is the id of {len(own):,} rows of the source"
        fix = f"Use the id of one of these records: {', '.join(own[:N_OFFERED])}."
    elif matches and _ID.fullmatch(plain):
        what = f"{len(matches):,} ids begin with {name!r}"
        fix = f"Add more digits; the first of these ids are {', '.join(matches[:N_OFFERED])}."
    else:
        what = f"none of the {len(ids):,} records has the id {name!r}"
        fix = (
            "Use an id from pool.parquet or its first digits, one of the pool's own ids, or a "
            "line of the source, as in line:37."
        )
    raise ParamError(what, where="selectllm explain", fix=fix)


def _with_own_id(pool: Path, name: str) -> list[str]:
    """Return the ids of the records with this cell in a column that is named like an id."""
    table = read_table(pool, POOL, ["id", "extra"])
    # Only rows that contain the cell as JSON are parsed; most do not.
    inside = json.dumps(name, ensure_ascii=False).strip('"')
    table = table.filter(pc.match_substring(table["extra"], inside))
    return [
        row["id"]
        for row in table.to_pylist()
        if any(
            isinstance(cell, str | int) and str(cell) == name and _OWN_ID.search(column.casefold())
            for column, cell in json.loads(row["extra"]).items()
        )
    ]


def _at_line(lock: Lock, pool: Path, file: str | None, line: int) -> Named:
    """Return the row at a line of the source; `file` is required if the line is ambiguous."""
    rows = lock.rows("ingest/dropped.parquet", INGEST_DROPPED, line=line)
    found = {row["file"]: Named(None, row) for row in rows}
    table = read_table(pool, POOL, ["id", "source"])
    for row in table.filter(pc.ends_with(table["source"], f":{line}")).to_pylist():
        found[row["source"].rpartition(":")[0]] = Named(row["id"])
    places = [name for name in found if file in (None, name)]
    if not places:
        raise DataError(
            f"line {line:,}{f' of {file}' if file else ''} was not read as a row",
            where=str(pool),
            fix="Give the line number of a row. Numbers start at 1; headers and blank lines are "
            "not rows.",
        )
    if len(places) > 1:
        raise ParamError(
            f"{len(places)} files have a row at line {line:,}",
            where="selectllm explain",
            fix=f"Name the file, as in line:{places[0]}:{line}.",
        )
    return found[places[0]]
