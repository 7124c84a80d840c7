"""Copy the rows that a query returns from a database."""

import json
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from tasks.fetch.size_limit import SizeLimit
from tasks.lib.core.errors import CurationError, DataError, ParamError
from tasks.lib.core.events import log
from tasks.lib.core.params import PARAMS_FILE

SQL = "sql:"
PASSWORD = "SELECTLLM_DB_PASSWORD"
ROWS_AT_ONCE = 1000
MAX_VALUE_BYTES = 100_000_000  # far above what ingest accepts; a query may ask SQLite for 1 GB
EXTRAS = {"postgresql": "postgres"}

_COLON = re.compile(r"(?<![:\\]):(?=\w)")  # SQLAlchemy would take :name for a parameter


def check_database(database: str | None) -> URL:
    """Return the URL of a database, after checking it.

    Raises:
        ParamError: The URL is missing or invalid, or contains a password.
    """
    where = f"{PARAMS_FILE}: fetch.database"
    if not database:
        raise ParamError(
            "fetch.source is a query, but fetch.database is not set",
            where=where,
            fix="Set it, for example with -S fetch.database=sqlite:///pool.db.",
        )
    try:
        url = make_url(database)
    except (ArgumentError, ValueError):
        raise ParamError(
            "expected the URL of a database",
            where=where,
            fix="Write it like sqlite:///pool.db or postgresql+psycopg://USER@HOST/NAME.",
        ) from None
    if url.password or any("password" in key.lower() for key in url.query):
        raise ParamError(
            "the URL contains a password, which would be stored in Git",
            where=where,
            fix=f"Remove it from the URL, and set {PASSWORD} in the environment.",
        )
    return url


def copy_query(
    query: str, database: str, root: Path, target: Path, limit: SizeLimit
) -> dict[str, Any]:
    """Write the rows that a query returns as JSON lines; return their provenance.

    Nothing is written to the database. The path of a SQLite file is relative to `root`.

    Raises:
        ParamError: The database URL is wrong.
        DataError: The database or its driver is missing, the query fails, it returns no rows or two
            columns with the same name, or the limit is exceeded.
    """
    url = _absolute(check_database(database), root)
    if not re.search(r"\border\s+by\b", query, re.IGNORECASE):
        log.warning("fetch: the query has no ORDER BY, so the order of its rows may change")
    n_rows = 0
    with (
        target.open("w", encoding="utf-8") as file,
        _connect(url, database) as connection,
        closing(_execute(connection, query, database)) as result,
    ):
        names = list(result.keys())
        _check_names(names, database)
        for row in _rows(result, database):
            line = json.dumps(
                dict(zip(names, row, strict=True)), ensure_ascii=False, default=_plain
            )
            limit.add(len(line) + 1, database)
            file.write(line + "\n")
            n_rows += 1
    if not n_rows:
        raise DataError("the query returns no rows", where=database, fix="Correct fetch.source.")
    return {"name": target.name, "database": database, "query": query, "rows": n_rows}


def _absolute(url: URL, root: Path) -> URL:
    """Return the URL, with its password or the absolute path of its SQLite file filled in."""
    if url.get_backend_name() != "sqlite":
        password = os.environ.get(PASSWORD)
        return url.set(password=password) if password else url
    path = root / (url.database or "")
    if not path.is_file():
        raise DataError(
            f"there is no SQLite file {url.database}",
            where=f"{PARAMS_FILE}: fetch.database",
            fix="Write its path after sqlite:///, as in sqlite:///data/pool.db.",
        )
    return url.set(database=str(path))


@contextmanager
def _connect(url: URL, database: str) -> Iterator[sa.Connection]:
    """Open a read-only connection."""
    with _sql_errors(database):
        engine = sa.create_engine(url, hide_parameters=True, poolclass=sa.NullPool)
        connection = engine.connect()
    try:
        with _sql_errors(database):
            if url.get_backend_name() == "sqlite":
                connection.exec_driver_sql("PRAGMA query_only = ON")
                driver: Any = connection.connection.driver_connection
                driver.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
            elif url.get_backend_name() == "postgresql":
                connection = connection.execution_options(postgresql_readonly=True)
        yield connection
    finally:
        connection.close()
        engine.dispose()


def _execute(connection: sa.Connection, query: str, database: str) -> sa.CursorResult[Any]:
    # SQLite reads row by row anyway, and several rows at once could be large.
    n_rows = 1 if connection.dialect.name == "sqlite" else ROWS_AT_ONCE
    options = {"stream_results": True, "yield_per": n_rows}
    with _sql_errors(database):
        return connection.execute(sa.text(_COLON.sub(r"\\:", query)), execution_options=options)


def _rows(result: sa.CursorResult[Any], database: str) -> Iterator[sa.Row[Any]]:
    while True:
        with _sql_errors(database):
            rows = result.fetchmany()
        if not rows:
            return
        yield from rows


def _check_names(names: list[str], database: str) -> None:
    repeated = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if repeated is not None:
        raise DataError(
            f"the query returns two columns named {repeated}",
            where=database,
            fix="Rename one of them with AS.",
        )


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes | memoryview):
        return bytes(value).decode("utf-8", "backslashreplace")
    return str(value)


@contextmanager
def _sql_errors(database: str) -> Iterator[None]:
    """Turn any error from SQLAlchemy or a driver into a DataError that hides the password."""
    try:
        yield
    except CurationError:
        raise
    except ImportError as error:
        extra = EXTRAS.get(database.partition(":")[0].partition("+")[0])
        raise DataError(
            f"the database driver is not installed ({error})",
            where=database,
            fix=f"Run `pip install 'selectllm[{extra}]'`." if extra else "Install the package.",
        ) from None
    except Exception as error:
        what = str(getattr(error, "orig", None) or error).strip()
        if password := os.environ.get(PASSWORD):
            what = what.replace(password, "***")
        raise DataError(
            f"the database reported an error: {what}",
            where=database,
            fix=f"Check fetch.database, the query in fetch.source and {PASSWORD}.",
        ) from None
