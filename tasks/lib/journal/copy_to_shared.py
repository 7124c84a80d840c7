"""Copy this machine's own journal into a shared one, so that no answer in it is bought again."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tasks.lib.core.errors import DataError
from tasks.lib.core.format_text import usd_text
from tasks.lib.core.stage import JOURNAL
from tasks.lib.journal.database import Database, has_table
from tasks.lib.journal.legacy import MARK
from tasks.lib.journal.live_runs import LiveRun
from tasks.lib.journal.location import KEY, SharedJournal
from tasks.lib.journal.models import LOST, OPEN, Answer, Call, Settled
from tasks.lib.journal.postgres import SharedDatabase
from tasks.lib.journal.schema import connect_existing, explained, open_shared

_ANSWER = (*Answer._fields, "created")
_CALL = ("selection", "run", "created", *dict.fromkeys((*Call._fields, *Settled._fields)))
_SAME_CALL = ("run", "key", "created")
_MAX_PLACES = 1000  # in one statement


class Copied(NamedTuple):
    """What was copied into the shared journal."""

    n_answers: int
    n_calls: int
    usd: float

    def __str__(self) -> str:
        return (
            "copied from this machine's own journal to the database: "
            f"answers {self.n_answers:,}, calls {self.n_calls:,} ({usd_text(self.usd)})"
        )


def share_own(place: SharedJournal) -> Copied | None:
    """Copy what a shared journal lacks from this machine's own journal, in one transaction.

    The own journal is not changed. Calls are copied once, however often this is called and even if
    two machines have the same file. Their cost counts toward the caps of their selections. Open
    calls of runs that have died count as lost, at their upper bounds.

    Returns:
        What was copied; None if the database already had everything.

    Raises:
        DataError: A run is using this machine's own journal, or a journal cannot be used.
    """
    with _opened(place) as (own, db):
        if own is None or _has_newest_call(own, db):
            return None
        _require_unused(own, place.folder / JOURNAL)
        calls = _read_calls(own)
        answers = own.execute(f"SELECT {', '.join(_ANSWER)} FROM answers").fetchall()
        spending = dict(own.execute("SELECT selection, usd FROM spending").fetchall())
        with db:
            db.begin()
            missing = list(_missing(db, calls))
            _spend(db, spending, calls, missing)
            _insert(db, "calls", _CALL, [tuple(call.values()) for call in missing])
            n_answers = _insert(db, "answers", _ANSWER, answers)
            if has_table(own, MARK):  # answers may have keys of an earlier version
                db.execute(f"CREATE TABLE IF NOT EXISTS {MARK} (from_version INTEGER NOT NULL)")
    return Copied(n_answers, len(missing), sum(call["usd"] for call in missing))


def lacks_own(place: SharedJournal) -> bool:
    """Return whether a shared journal lacks calls from this machine's own journal.

    Raises:
        DataError: A journal cannot be used.
    """
    with _opened(place) as (own, db):
        return own is not None and not _has_newest_call(own, db)


@contextmanager
def _opened(place: SharedJournal) -> Iterator[tuple[Database | None, SharedDatabase]]:
    """Yield this machine's own journal, or None if there is none, and the database."""
    path = place.folder / JOURNAL
    with closing(open_shared(place)) as db, explained(place):
        if not path.exists():
            yield None, db
            return
        with closing(connect_existing(path, may_migrate=False)) as own, explained(path):
            yield own, db


def _has_newest_call(own: Database, db: SharedDatabase) -> bool:
    """Return whether the database has the journal's newest call, and therefore all of them."""
    names = ", ".join(_SAME_CALL)
    newest = own.execute(f"SELECT {names} FROM calls ORDER BY id DESC LIMIT 1").fetchone()
    query = f"SELECT 1 FROM calls WHERE {' AND '.join(f'{name} = ?' for name in _SAME_CALL)}"
    return newest is None or db.execute(query, newest).fetchone() is not None


def _require_unused(own: Database, path: Path) -> None:
    run = LiveRun(path)
    for (other,) in own.execute(f"SELECT DISTINCT run FROM calls WHERE outcome = '{OPEN}'"):
        if run.is_alive(other):
            raise DataError(
                f"a run is using this machine's own journal, which {KEY} replaces",
                where=str(path),
                fix="Wait until that run has ended, then run this again, which copies its answers.",
            )


def _read_calls(own: Database) -> list[dict[str, Any]]:
    """Return all calls, the oldest first; open ones as lost."""
    rows = own.execute(f"SELECT {', '.join(_CALL)} FROM calls ORDER BY id")
    calls = [dict(zip(_CALL, row, strict=True)) for row in rows]
    return [call | {"outcome": LOST} if call["outcome"] == OPEN else call for call in calls]


def _missing(db: SharedDatabase, calls: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the calls that the database lacks, in order."""
    runs = list({call["run"] for call in calls})
    known: set[tuple[str, ...]] = set()
    for start in range(0, len(runs), _MAX_PLACES):
        some = runs[start : start + _MAX_PLACES]
        query = f"SELECT {', '.join(_SAME_CALL)} FROM calls WHERE run IN ({_places(some)})"
        known |= set(db.execute(query, some).fetchall())
    yield from (call for call in calls if tuple(call[name] for name in _SAME_CALL) not in known)


def _spend(
    db: SharedDatabase,
    spending: dict[str, float],
    calls: Sequence[dict[str, Any]],
    missing: Sequence[dict[str, Any]],
) -> None:
    """Add the cost of the missing calls to what their selections have spent.

    A selection that is new to the database starts from what it has spent apart from its own calls:
    the spending that it took over from an old name.
    """
    without_calls, added = defaultdict(float, spending), defaultdict[str, float](float)
    for call in calls:
        without_calls[call["selection"]] -= call["usd"]
    for call in missing:
        added[call["selection"]] += call["usd"]
    rows = [(name, max(0.0, usd)) for name, usd in without_calls.items() if name in spending]
    _insert(db, "spending", ("selection", "usd"), rows)
    for name, usd in added.items():
        db.execute("UPDATE spending SET usd = usd + ? WHERE selection = ?", (usd, name))


def _insert(
    db: SharedDatabase, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]]
) -> int:
    """Insert rows, except those whose key is in the table; return the number of new rows."""
    query = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({_places(names)})"
    return db.execute_many(f"{query} ON CONFLICT DO NOTHING", rows)


def _places(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))
