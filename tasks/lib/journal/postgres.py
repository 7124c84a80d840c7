"""The journal in a PostgreSQL database, which runs on several machines use at once.

Every transaction that writes holds one lock, as in SQLite, so a check and the write that follows
from it are atomic for all machines. A run holds an advisory lock for as long as its connection
lives; the server releases it when the process ends or its machine disappears.
"""

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tasks.lib.core.errors import DataError
from tasks.lib.core.hiding import hide
from tasks.lib.journal.location import KEY, PASSWORD, SharedJournal

if TYPE_CHECKING:
    import psycopg

CONNECT_S, LOCK_S = 10, 60
IDLE_S, PROBE_S, PROBES = 10, 5, 3  # a vanished machine or server is noticed within 25 s
SCHEMA = "selectllm"
_CREATION = 5424  # any number: the lock of the machine that creates the tables

_SETTINGS = f"""
SET search_path = {SCHEMA};
SET synchronous_commit = on;
SET default_transaction_isolation = 'read committed';
SET lock_timeout = '{LOCK_S}s';
SET idle_in_transaction_session_timeout = '{LOCK_S}s';
SET tcp_keepalives_idle = {IDLE_S};
SET tcp_keepalives_interval = {PROBE_S};
SET tcp_keepalives_count = {PROBES}
"""

_POSTGRESQL = {
    "INTEGER PRIMARY KEY": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    "INTEGER NOT NULL": "BIGINT NOT NULL",
    "REAL": "DOUBLE PRECISION",
    "TEXT": 'TEXT COLLATE "C"',  # sorted as in SQLite
    " STRICT": "",
}
"""Words in SQLite's statements, each with PostgreSQL's equivalent."""


class SharedDatabase:
    """A connection with the methods of `sqlite3.Connection` that the journal uses.

    Several threads may use it at once.
    """

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self._connection = connection

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """Execute a statement with ``?`` for each value; return a cursor with its rows."""
        if not values:
            return self._connection.execute(sql.encode(), prepare=False)
        return self._connection.execute(_with_psycopg_places(sql), values)

    def execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> int:
        """Execute a statement for each row; return the number of rows that it changed."""
        with self._connection.cursor() as cursor:
            cursor.executemany(_with_psycopg_places(sql), rows)
            return cursor.rowcount

    def begin(self) -> None:
        """Begin a write transaction, once no other one is in progress."""
        self.execute("BEGIN")
        self.execute("LOCK TABLE spending IN EXCLUSIVE MODE")

    def has_table(self, name: str) -> bool:
        """Return whether the journal has a table."""
        query = "SELECT 1 FROM pg_tables WHERE schemaname = ? AND tablename = ?"
        return self.execute(query, (SCHEMA, name)).fetchone() is not None

    def close(self) -> None:
        """Close the connection, which ends its run."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if error is None:
            self._connection.commit()
        elif not self._connection.broken:
            self._connection.rollback()


class SharedRun:
    """This process's run, and whether other runs are alive; all hold locks in the database.

    Attributes:
        id: The unique name of the run.
    """

    def __init__(self, db: SharedDatabase) -> None:
        self.id, self._db, self._has_begun = uuid.uuid4().hex, db, False

    def begin(self) -> bool:
        """Take the lock; return False if this run already holds it."""
        if self._has_begun:
            return False
        self._db.execute("SELECT pg_advisory_lock(?)", (_number(self.id),))
        self._has_begun = True
        return True

    def end(self) -> None:
        """Do nothing: the lock ends with the connection."""

    def is_alive(self, run: str) -> bool:
        """Return whether a run still holds its lock."""
        if run == self.id:
            return True
        query = "SELECT pg_try_advisory_xact_lock_shared(?)"
        return not self._db.execute(query, (_number(run),)).fetchone()[0]

    def forget(self, run: str) -> None:
        """Do nothing: the server forgets the lock of a dead run."""


def connect_shared(place: SharedJournal) -> SharedDatabase:
    """Connect to a database, so that each commit is on its disk when it returns.

    Raises:
        DataError: The driver is not installed, or the database cannot be reached or used.
    """
    try:
        import psycopg  # noqa: PLC0415  for shared journals only
    except ImportError:
        raise DataError(
            "the driver for PostgreSQL is not installed",
            where=KEY,
            fix="Run `pip install 'selectllm[postgres]'`.",
        ) from None
    with explained_shared(place):
        connection: psycopg.Connection[Any] = psycopg.connect(
            place.url,
            autocommit=True,
            client_encoding="utf8",
            connect_timeout=CONNECT_S,
            application_name="selectllm",
            password=os.environ.get(PASSWORD),
            tcp_user_timeout=1000 * LOCK_S,
            keepalives_idle=IDLE_S,
            keepalives_interval=PROBE_S,
            keepalives_count=PROBES,
        )
        _adapt(connection)
        connection.execute(_SETTINGS.encode(), prepare=False)
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        connection.close()
        raise DataError(
            f"expected a database with the encoding UTF8, not {encoding}",
            where=str(place),
            fix="Create one: createdb --encoding=UTF8 --template=template0 NAME.",
        )
    return SharedDatabase(connection)


def create_tables(db: SharedDatabase, statements: str, version: int) -> None:
    """Create the tables of the journal, unless another machine has created them.

    Args:
        db: The database.
        statements: The statements that create them in SQLite.
        version: The version of the journal.
    """
    for word, other in _POSTGRESQL.items():
        statements = statements.replace(word, other)
    with db:
        db.execute("BEGIN")
        db.execute("SELECT pg_advisory_xact_lock(?)", (_CREATION,))
        if not db.has_table("journal"):
            db.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            db.execute(statements)
            db.execute("CREATE TABLE journal (version INTEGER NOT NULL)")
            db.execute("INSERT INTO journal VALUES (?)", (version,))


@contextmanager
def explained_shared(place: SharedJournal) -> Iterator[None]:
    """Turn an error from PostgreSQL into one that names the database and a remedy."""
    import psycopg  # noqa: PLC0415  for shared journals only

    try:
        yield
    except psycopg.Error as error:
        what = " ".join(hide(str(error)).split())
        raise DataError(
            f"the journal cannot be used: {what}",
            where=str(place),
            fix=f"Check {KEY}, {PASSWORD}, and that the server is running; then run this again "
            "to continue.",
        ) from None


def _number(run: str) -> int:
    return int.from_bytes(bytes.fromhex(run)[:8], signed=True)


@lru_cache(maxsize=64)
def _with_psycopg_places(sql: str) -> bytes:
    return sql.replace("%", "%%").replace("?", "%s").encode()


def _adapt(connection: "psycopg.Connection[Any]") -> None:
    """Store booleans as numbers, as SQLite does, and texts with NUL characters in escaped form."""
    from psycopg.adapt import Dumper  # noqa: PLC0415
    from psycopg.types.string import StrDumperUnknown, TextLoader  # noqa: PLC0415

    class Text(StrDumperUnknown):
        def dump(self, obj: str) -> Any:
            return super().dump(obj.replace("\x1a", "\x1aS").replace("\x00", "\x1a0"))

    class LoadedText(TextLoader):
        def load(self, data: Any) -> str:
            text = str(super().load(data))
            return (
                text.replace("\x1a0", "\x00").replace("\x1aS", "\x1a") if "\x1a" in text else text
            )

    class Number(Dumper):
        oid = connection.adapters.types["int4"].oid

        def dump(self, obj: bool) -> bytes:
            return b"1" if obj else b"0"

    connection.adapters.register_dumper(str, Text)
    connection.adapters.register_dumper(bool, Number)
    connection.adapters.register_loader("text", LoadedText)
