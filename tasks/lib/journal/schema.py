"""The journal's tables: created completely or not at all, migrated in place, never overwritten."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from filelock import FileLock

from tasks.lib.core.errors import DataError
from tasks.lib.core.private_file import make_private
from tasks.lib.journal.database import Database
from tasks.lib.journal.legacy import MIGRATIONS
from tasks.lib.journal.location import Place, SharedJournal
from tasks.lib.journal.postgres import (
    SharedDatabase,
    connect_shared,
    create_tables,
    explained_shared,
)

APPLICATION_ID = int.from_bytes(b"SLLM", "big")
VERSION = 4
BUSY_TIMEOUT_S = 30  # another run may be writing

_TABLES = """
CREATE TABLE answers (
    key TEXT PRIMARY KEY,
    route TEXT NOT NULL,
    model TEXT NOT NULL,
    text TEXT NOT NULL,
    parsed TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    usd REAL NOT NULL,
    is_upper_bound INTEGER NOT NULL,
    dropped_params TEXT NOT NULL,
    finish_reason TEXT NOT NULL,
    created TEXT NOT NULL,
    reasoning_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0
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
    is_upper_bound INTEGER NOT NULL,
    duration_s REAL NOT NULL,
    created TEXT NOT NULL,
    reasoning_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    remark TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX calls_by_key ON calls (key);
CREATE UNIQUE INDEX open_calls ON calls (key) WHERE outcome = 'open';
CREATE TABLE spending (selection TEXT PRIMARY KEY, usd REAL NOT NULL) STRICT;
"""


def connect(place: Place) -> Database:
    """Connect to the journal at `place`, so that each commit is on disk when it returns.

    The tables are created if they are missing. An older version is migrated in one transaction.

    Raises:
        DataError: The file is not a journal, is damaged, empty or of an unknown version, or
            cannot be read or written.
    """
    if isinstance(place, SharedJournal):
        return open_shared(place)
    path = place
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                _create(path)
        return _open(path)


def connect_existing(place: Place, *, may_migrate: bool = True) -> Database:
    """Connect to a journal that must already exist.

    A journal of an older version is migrated: in place if `may_migrate`, otherwise in memory only.

    Raises:
        DataError: There is no journal at `place`, or it cannot be used.
    """
    if isinstance(place, SharedJournal):
        return open_shared(place, may_create=False)
    if not place.exists():
        raise _missing(place)
    with explained(place):
        return _open(place, may_migrate=may_migrate)


@contextmanager
def explained(place: Place) -> Iterator[None]:
    """Turn an error from the database or the disk into one that names it and a remedy."""
    if isinstance(place, SharedJournal):
        with explained_shared(place):
            yield
        return
    path = place
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:  # locked, full, read-only
        raise DataError(
            f"the journal cannot be used: {error}",
            where=str(path),
            fix="Check that the disk has room, that the file is writable and that no other "
            "program has locked it, then run this again.",
        ) from None
    except sqlite3.DatabaseError as error:
        raise _damaged(path, str(error)) from None


def open_shared(place: SharedJournal, *, may_create: bool = True) -> SharedDatabase:
    """Connect to a shared journal; create its tables if they are missing and `may_create` is set.

    Raises:
        DataError: The database cannot be used, or has no journal and `may_create` is not set.
    """
    db = connect_shared(place)
    try:
        with explained_shared(place):
            if not db.has_table("journal"):
                if not may_create:
                    raise _missing(place)
                create_tables(db, _TABLES, VERSION)
            (version,) = db.execute("SELECT version FROM journal").fetchone()
        if version != VERSION:
            raise _unknown_version(version, VERSION, place)
    except BaseException:
        db.close()
        raise
    return db


def _create(path: Path) -> None:
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    make_private(part)
    with closing(sqlite3.connect(part, isolation_level=None)) as db:
        db.executescript(_TABLES)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("PRAGMA journal_mode = WAL")
    part.replace(path)


def _open(path: Path, *, may_migrate: bool = True) -> sqlite3.Connection:
    make_private(path)
    db = sqlite3.connect(
        path, isolation_level=None, timeout=BUSY_TIMEOUT_S, check_same_thread=False
    )
    try:
        if _version(db, path) != VERSION:
            if not may_migrate:
                db = _in_memory(db)
            _migrate(db)
        db.execute("PRAGMA synchronous = FULL")
    except BaseException:
        db.close()
        raise
    return db


def _in_memory(db: sqlite3.Connection) -> sqlite3.Connection:
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    with closing(db):
        db.backup(copy)
    return copy


def _migrate(db: sqlite3.Connection) -> None:
    """Migrate a journal to `VERSION` in one transaction."""
    with db:
        db.execute("BEGIN IMMEDIATE")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        # Nothing is left to do if another run migrated it while this one waited.
        for statement in (step for n in range(version, VERSION) for step in MIGRATIONS[n]):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {VERSION}")


def _version(db: sqlite3.Connection, path: Path) -> int:
    """Return the version of a journal, after checking that it can be read."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise _damaged(path, "it is empty, or another program wrote it")
    if version not in (*MIGRATIONS, VERSION):
        raise _unknown_version(version, f"{min(MIGRATIONS)} to {VERSION}", path)
    return int(version)


def _unknown_version(version: int, known: object, place: Place) -> DataError:
    return DataError(
        f"the journal has version {version}; this version of SelectLLM reads {known}",
        where=str(place),
        fix="Use the SelectLLM version that wrote it, or move it away to start a new journal.",
    )


def _missing(place: Place) -> DataError:
    return DataError(
        "there is no journal yet",
        where=str(place),
        fix="Run the pipeline first: the first run that calls a model creates the journal.",
    )


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(
        f"this is not a SelectLLM journal, or it is damaged: {reason}",
        where=str(path),
        fix="Restore it from a backup, or move it away to start a new one. With a new journal, all "
        "answers are bought again.",
    )
