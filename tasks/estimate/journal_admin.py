"""Manage a journal: list answers, sum up costs, prune old answers, and retry failed calls."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from tasks.lib.core.errors import ParamError
from tasks.lib.core.params import PARAMS_FILE, read_params
from tasks.lib.core.stage import STATE_DIR
from tasks.lib.journal.copy_to_shared import Copied, lacks_own, share_own
from tasks.lib.journal.database import Database
from tasks.lib.journal.location import Place, SharedJournal, journal_place
from tasks.lib.journal.models import RETRY
from tasks.lib.journal.schema import connect_existing, explained

_SUMS = """
SELECT route, model, outcome, count(*) AS calls,
       CAST(sum(prompt_tokens) AS BIGINT) AS prompt_tokens,
       CAST(sum(completion_tokens) AS BIGINT) AS completion_tokens, sum(usd) AS usd,
       CAST(sum(is_upper_bound) AS BIGINT) AS unknown
FROM calls GROUP BY route, model, outcome ORDER BY route, model, calls DESC
"""
_LATENCIES = """
SELECT model, duration_s FROM calls WHERE outcome = 'answer' AND duration_s > 0
ORDER BY model, duration_s
"""
_CALLS = """
SELECT outcome, message, reply, prompt_tokens, completion_tokens, usd, is_upper_bound, duration_s
FROM calls WHERE key = ? ORDER BY id
"""
MIN_LATENCIES = 10


def sums(path: Place) -> list[dict[str, Any]]:
    """Return total calls, tokens, prices and upper bounds by route, model and outcome.

    Raises:
        DataError: There is no journal, or it cannot be used.
    """
    with _opened(path) as db:
        return _rows(db, _SUMS)


def newest(path: Place, limit: int) -> list[dict[str, Any]]:
    """Return the latest answers, newest first.

    Raises:
        DataError: There is no journal, or it cannot be used.
    """
    names = "created, key, route, model, parsed, prompt_tokens, completion_tokens, usd, text"
    query = f"SELECT {names} FROM answers ORDER BY created DESC LIMIT ?"
    with _opened(path) as db:
        return _rows(db, query, (limit,))


def calls_for(path: Place, key: str) -> list[dict[str, Any]]:
    """Return the calls for a request, oldest first; an open one may come from a killed run.

    Raises:
        DataError: There is no journal, or it cannot be used.
    """
    with _opened(path) as db:
        return _rows(db, _CALLS, (key,))


def prune(path: Place, before: str, *, dry_run: bool) -> int:
    """Delete the answers that were bought before a given day; return their number.

    Their cost stays in the journal.

    Args:
        path: The journal.
        before: The day, such as 2026-01-31; answers from that day are kept.
        dry_run: Count the answers, but do not delete them.

    Raises:
        ParamError: `before` is not a date.
        DataError: There is no journal, or it cannot be used.
    """
    try:
        day = date.fromisoformat(before).isoformat()
    except ValueError:
        raise ParamError(
            f"{before!r} is not a date",
            where="selectllm journal prune",
            fix="Write it as 2026-01-31.",
        ) from None
    with _opened(path) as db:
        (n,) = db.execute("SELECT count(*) FROM answers WHERE created < ?", (day,)).fetchone()
        if not dry_run:
            db.execute("DELETE FROM answers WHERE created < ?", (day,))
            if isinstance(db, sqlite3.Connection):  # PostgreSQL reuses the space on its own
                db.execute("VACUUM")
    return int(n)


def retry_failed(path: Place) -> int:
    """Mark failed calls for retry, and return their number.

    Use it once the cause is fixed, such as a server's template or context size. The cost of the
    calls stays in the journal.

    Raises:
        DataError: There is no journal, or it cannot be used.
    """
    query = (
        f"UPDATE calls SET outcome = '{RETRY}' || outcome "
        f"WHERE outcome NOT IN ('open', 'answer', 'lost') AND outcome NOT LIKE '{RETRY}%'"
    )
    with _opened(path) as db:
        return int(db.execute(query).rowcount)


def latencies(path: Place) -> dict[str, tuple[float, float]]:
    """Return the 10th and 90th percentiles of answer times in seconds, by model.

    Models with few answers are left out. The result is empty if there is no journal.
    """
    if isinstance(path, Path) and not path.exists():
        return {}
    by_model: dict[str, list[float]] = {}
    with _opened(path) as db:
        for model, duration_s in db.execute(_LATENCIES):
            by_model.setdefault(model, []).append(duration_s)
    return {
        model: (seconds[len(seconds) // 10], seconds[len(seconds) * 9 // 10])
        for model, seconds in by_model.items()
        if len(seconds) >= MIN_LATENCIES
    }


def journal_of(root: Path) -> Place:
    """Return the location of a workspace's journal.

    Raises:
        ParamError: params.yaml cannot be read, or ``llm_select.journal`` cannot be used.
    """
    return journal_place(root / STATE_DIR, read_params(root / PARAMS_FILE))


def share_own_journal(root: Path) -> Copied | None:
    """Copy this machine's own journal into the shared one; see `share_own`.

    Returns:
        What was copied; None if the journal is a file, or if the database had everything.
    """
    place = journal_of(root)
    return share_own(place) if isinstance(place, SharedJournal) else None


def check_shared_journal(root: Path) -> tuple[str, bool]:
    """Return a shared journal's URL, and whether it lacks calls of this machine's own journal.

    Raises:
        ParamError: params.yaml cannot be read, or ``llm_select.journal`` cannot be used.
        DataError: A journal cannot be used.
    """
    place = journal_of(root)
    return str(place), isinstance(place, SharedJournal) and lacks_own(place)


@contextmanager
def _opened(path: Place) -> Iterator[Database]:
    with closing(connect_existing(path)) as db, explained(path):
        yield db


def _rows(db: Database, query: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
    cursor = db.execute(query, values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]
