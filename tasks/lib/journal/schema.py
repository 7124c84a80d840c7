"""The journal's file: made once, whole or not at all, and never made anew over something else."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from filelock import FileLock

from tasks.lib.core.errors import DataError

APPLICATION_ID = int.from_bytes(b"SLLM", "big")
VERSION = 2
BUSY_TIMEOUT_S = 30  # another run may be writing

_TABLES = """
CREATE TABLE answers (
    key TEXT PRIMARY KEY,
    route TEXT NOT NULL,
    model TEXT NOT NULL,
    text TEXT NOT NULL,
    picks TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    usd REAL NOT NULL,
    is_bound INTEGER NOT NULL,
    left_out TEXT NOT NULL,
    finish_reason TEXT NOT NULL,
    created TEXT NOT NULL
) STRICT;
CREATE TABLE calls (
    id INTEGER PRIMARY KEY,
    selection TEXT NOT NULL,
    run TEXT NOT NULL,
    key TEXT NOT NULL,
    route TEXT NOT NULL,
    model TEXT NOT NULL,
    outcome TEXT NOT NULL,
    message TEXT NOT NULL,
    reply TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    usd REAL NOT NULL,
    is_bound INTEGER NOT NULL,
    duration_s REAL NOT NULL,
    created TEXT NOT NULL
) STRICT;
CREATE INDEX calls_by_key ON calls (key);
CREATE UNIQUE INDEX open_calls ON calls (key) WHERE outcome = 'open';
CREATE TABLE spending (selection TEXT PRIMARY KEY, usd REAL NOT NULL) STRICT;
"""


def connect(path: Path, *, may_create: bool = True) -> sqlite3.Connection:
    """A connection to the journal at `path`, every commit of which is on disk when it returns.

    Raises:
        DataError: The file is no journal, is damaged, empty or of another version, is missing and
            may not be created, or cannot be read or written.
    """
    with told(path):
        if may_create:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock")):
                if not path.exists():
                    _create(path)
        if not path.exists():
            raise DataError(
                "there is no journal yet",
                where=str(path),
                fix="It is made by the first run that asks a model.",
            )
        db = sqlite3.connect(
            path, isolation_level=None, timeout=BUSY_TIMEOUT_S, check_same_thread=False
        )
        try:
            _check(db, path)
            db.execute("PRAGMA synchronous = FULL")
        except BaseException:
            db.close()
            raise
    return db


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what SQLite or the disk says into an error that names the file and what to do."""
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:  # locked, full, read-only
        raise DataError(
            f"the journal cannot be used: {error}",
            where=str(path),
            fix="See that the disk has room, that the file may be written and that nothing else "
            "holds it, then run this again.",
        ) from None
    except sqlite3.DatabaseError as error:
        raise _damaged(path, str(error)) from None


def _create(path: Path) -> None:
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with closing(sqlite3.connect(part, isolation_level=None)) as db:
        db.executescript(_TABLES)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("PRAGMA journal_mode = WAL")
    part.replace(path)


def _check(db: sqlite3.Connection, path: Path) -> None:
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise _damaged(path, "it is empty, or something else wrote it")
    if version != VERSION:
        raise DataError(
            f"the journal has version {version}, this SelectLLM reads {VERSION}",
            where=str(path),
            fix="Use the SelectLLM that wrote it, or move the file away to start a new one.",
        )


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(
        f"this is no journal of SelectLLM's, or a damaged one: {reason}",
        where=str(path),
        fix="Restore it from a copy, or move it away to start a new one; the answers in it would "
        "then be bought again.",
    )
