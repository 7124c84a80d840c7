"""The record that a user names by its id, the first digits of its id, or its line."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.compute as pc

from tasks.audit.dvc_lock import Lock
from tasks.lib.core.errors import DataError, ParamError
from tasks.lib.core.schemas import INGEST_DROPPED, POOL
from tasks.lib.core.tables import read_table

N_OFFERED = 3
MIN_DIGITS = 4  # of an id that is cut short

_LINE = re.compile(r"line:(?:(.+):)?(\d{1,12})")
_ID = re.compile(rf"[0-9a-f]{{{MIN_DIGITS},16}}")


class Named(NamedTuple):
    """A record of the pool, or a row that ingest dropped."""

    id: str | None
    dropped: dict[str, Any] | None = None  # file, line, reason and detail


def find(lock: Lock, name: str) -> Named:
    """Find the record or row that `name` means: an id or its first digits, or its line.

    A line is written ``line:N``, or ``line:FILE:N`` if the source has several files.

    Raises:
        ParamError: No record has this name, or more than one.
        DataError: The pool is missing.
    """
    pool = lock.out("ingest/pool.parquet")
    line = _LINE.fullmatch(name)
    return (
        _at_line(lock, pool, line[1], int(line[2])) if line else Named(_record(pool, name.lower()))
    )


def _record(pool: Path, name: str) -> str:
    ids: list[str] = read_table(pool, POOL, ["id"]).to_pydict()["id"]
    matches = [record_id for record_id in ids if record_id.startswith(name)]
    if len(matches) == 1 and _ID.fullmatch(name):
        return matches[0]
    if matches and _ID.fullmatch(name):
        what = f"{name!r} is the beginning of {len(matches):,} ids"
        fix = f"Add digits; the first of these ids are {', '.join(matches[:N_OFFERED])}."
    else:
        what = f"{name!r} is not the id of any of {len(ids):,} records"
        fix = "Use an id of pool.parquet or its first digits, or line:37 for a line of the source."
    raise ParamError(what, where="selectllm explain", fix=fix)


def _at_line(lock: Lock, pool: Path, file: str | None, line: int) -> Named:
    """Find the row at a line of the source; `file` is required if several files have that line."""
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
            fix="Lines count from 1; a header and empty lines are not rows.",
        )
    if len(places) > 1:
        raise ParamError(
            f"{len(places)} files have a row at line {line:,}",
            where="selectllm explain",
            fix=f"Name the file, as in line:{places[0]}:{line}.",
        )
    return found[places[0]]
