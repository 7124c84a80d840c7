"""Commands for a journal: list answers, sum costs, prune and retry."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from tasks.lib.core.errors import ParamError
from tasks.lib.journal.models import RETRY
from tasks.lib.journal.schema import connect_existing, explained

_SUMS = """
SELECT route, model, outcome, count(*) AS calls, sum(prompt_tokens) AS prompt_tokens,
       sum(completion_tokens) AS completion_tokens, sum(usd) AS usd, sum(is_upper_bound) AS unknown
FROM calls GROUP BY route, model, outcome ORDER BY route, model, calls DESC
"""
_LATENCIES = """
SELECT model, duration_s FROM calls WHERE outcome = 'answer' AND duration_s > 0
ORDER BY model, duration_s
"""
_CALLS = """
SELECT outcome, message, reply, prompt_tokens, completion_tokens, usd, is_upper_bound, duration_s
FROM calls WHERE key = ? AND outcome != 'open' ORDER BY id
"""
MIN_LATENCIES = 10


def sums(path: Path) -> list[dict[str, Any]]:
    """Return calls, tokens, prices and upper bounds by route, model and outcome.

    Raises:
        DataError: There is no journal, or it cannot be used.
    """
    with _opened(path) as db:
        return [dict(row) for row in db.execute(_SUMS)]


def newest(path: Path, limit: int) -> list[dict[str, Any]]:
    """Return the newest answers, the newest first.

    Raises:
        DataError: There is no journal, or it cannot be used.
    """
    names = "created, key, route, model, parsed, prompt_tokens, completion_tokens, usd, text"
    query = f"SELECT {names} FROM answers ORDER BY created DESC LIMIT ?"
    with _opened(path) as db:
        return [dict(row) for row in db.execute(query, (limit,))]


def calls_for(path: Path, key: str) -> list[dict[str, Any]]:
    """Return the finished calls for a request, oldest first.

    Raises:
        DataError: There is no journal, or it cannot be used.
    """
    with _opened(path) as db:
        return [dict(row) for row in db.execute(_CALLS, (key,))]


def prune(path: Path, before: str, *, dry_run: bool) -> int:
    """Delete the answers that were bought before a day; return their number.

    Their cost stays in the journal.

    Args:
        path: The journal.
        before: The day, such as 2026-01-31; answers of that day are kept.
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
            db.execute("VACUUM")
    return int(n)


def retry_failed(path: Path) -> int:
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


def latencies(path: Path) -> dict[str, tuple[float, float]]:
    """Return the 10th and 90th percentile of the seconds that answers took, by model.

    Models with few answers are left out. The result is empty if there is no journal.
    """
    if not path.exists():
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


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect_existing(path)) as db, explained(path):
        db.row_factory = sqlite3.Row
        yield db
