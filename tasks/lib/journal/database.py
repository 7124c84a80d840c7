"""A connection to a journal's database: SQLite or PostgreSQL."""

from pathlib import Path
from typing import Any, Protocol

from tasks.lib.journal.live_runs import LiveRun
from tasks.lib.journal.location import Place
from tasks.lib.journal.postgres import SharedDatabase, SharedRun


class Database(Protocol):
    """The part of a connection to SQLite or PostgreSQL that the journal uses."""

    def execute(self, sql: str, values: Any = ..., /) -> Any:
        """Execute a statement with ``?`` for each value; return a cursor with its rows."""

    def close(self) -> None:
        """Close the connection."""

    def __enter__(self) -> Any: ...

    def __exit__(self, *error: Any) -> Any: ...


def begin(db: Database) -> None:
    """Begin a write transaction, once no other one is in progress."""
    if isinstance(db, SharedDatabase):
        db.begin()
    else:
        db.execute("BEGIN IMMEDIATE")


def has_table(db: Database, name: str) -> bool:
    """Return whether a journal has a table."""
    if isinstance(db, SharedDatabase):
        return db.has_table(name)
    query = "SELECT 1 FROM sqlite_master WHERE name = ?"
    return db.execute(query, (name,)).fetchone() is not None


def new_run(db: Database, place: Place) -> LiveRun | SharedRun:
    """Return a run of this process that has not begun yet."""
    if isinstance(db, SharedDatabase):
        return SharedRun(db)
    return LiveRun(Path(str(place)))
