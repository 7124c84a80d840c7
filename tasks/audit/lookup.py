"""From what a user types to the record that is meant."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc

from tasks.audit.dvc_lock import Lock
from tasks.lib.core.errors import DataError, ParamError
from tasks.lib.core.schemas import INGEST_DROPPED, POOL
from tasks.lib.core.tables import read_table

N_OFFERED = 3
MAX_WRONG = 4  # digits of an id that is offered in place of another
MIN_DIGITS = 4  # of an id that is cut short

_LINE = re.compile(r"line:(\d{1,12})")
_ID = re.compile(rf"[0-9a-f]{{{MIN_DIGITS},16}}")


class Found(NamedTuple):
    """A record of the pool, or a row that never became one."""

    id: str | None
    dropped: dict[str, Any] | None = None  # line, reason and detail


def find(lock: Lock, name: str) -> Found:
    """What `name` names: a record's id, its first digits, or ``line:N`` of the source.

    Raises:
        ParamError: Nothing bears this name, or more than one record; near ids are offered.
        DataError: The pool is missing.
    """
    pool = lock.out("ingest/pool.parquet")
    line = _LINE.fullmatch(name)
    return _at_line(lock, pool, int(line[1])) if line else Found(_record(pool, name.lower()))


def _record(pool: Path, name: str) -> str:
    ids: list[str] = read_table(pool, POOL, ["id"]).to_pydict()["id"]
    if _ID.fullmatch(name):
        begin = [each for each in ids if each.startswith(name)]
        if len(begin) == 1:
            return begin[0]
        if begin:
            raise _unknown(name, f"begins {len(begin):,} ids", _listed(begin))
    near = _near(ids, name)
    raise _unknown(name, f"is the id of none of {len(ids):,} records", _listed(near))


def _near(ids: Sequence[str], name: str) -> list[str]:
    """Ids with few other digits, the nearest first; such a typo leaves the other places alone."""
    if len(name) != 16:
        return []
    digits = np.array(ids, dtype="S16").view("S1").reshape(len(ids), 16)
    typed = np.frombuffer(name.encode("ascii", "replace"), dtype="S1")[:16]
    n_wrong = (digits != typed).sum(axis=1)
    order = np.argsort(n_wrong, kind="stable")[:N_OFFERED]
    return [ids[i] for i in order if n_wrong[i] <= MAX_WRONG]


def _listed(ids: list[str]) -> str:
    return f"Did you mean {', '.join(ids[:N_OFFERED])}?" if ids else ""


def _unknown(name: str, what: str, offer: str) -> ParamError:
    return ParamError(
        f"{name!r} {what}",
        where="selectllm explain",
        fix=offer
        or "Ids stand in pool.parquet and receipt.jsonl; line:37 names a line of the source.",
    )


def _at_line(lock: Lock, pool: Path, line: int) -> Found:
    rows = lock.rows("ingest/dropped.parquet", INGEST_DROPPED, line=line)
    if rows:
        return Found(None, rows[0])
    table = read_table(pool, POOL, ["id", "source"])
    ids = table.filter(pc.ends_with(table["source"], f":{line}"))["id"]
    if not len(ids):
        raise DataError(
            f"line {line:,} was not read as a row",
            where=str(pool),
            fix="Lines count from 1; a header and empty lines are no rows.",
        )
    return Found(str(ids[0]))
