"""Find out within seconds why a server or a database cannot be used."""

import contextlib
import io
import os
import socket
import sqlite3
import sys
import threading
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from tasks.lib.core.errors import DataError
from tasks.lib.core.hiding import hide

PATIENCE_S = 2.0
LOCK_WAIT_S = 2
CHECK_S = 2.0  # for the pages of a database; a large one is checked only in part
BAD_GATEWAY, NOT_FOUND = 502, 404


def _require_profiles() -> None:
    """Check Prefect's profiles file; if it is broken, importing Prefect ends in a traceback.

    Raises:
        DataError: The file cannot be read, or is not TOML.
    """
    home = os.environ.get("PREFECT_HOME") or "~/.prefect"
    path = Path(os.environ.get("PREFECT_PROFILES_PATH") or f"{home}/profiles.toml").expanduser()
    try:
        tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise DataError(
            f"the Prefect profiles cannot be read: {error}",
            where=str(path),
            fix="Correct the file, or move it away: without it, Prefect uses its defaults.",
        ) from None


def require_prefect_settings() -> None:
    """Check Prefect's settings in its profiles and in the environment.

    Raises:
        DataError: A setting is wrong, or Prefect's profiles file cannot be read.
    """
    _require_profiles()
    with contextlib.redirect_stderr(io.StringIO()) as said:  # all wrong settings, at length
        from prefect.settings import get_current_settings  # noqa: PLC0415  takes a second
    from pydantic import ValidationError  # noqa: PLC0415

    try:
        get_current_settings()
    except ValidationError as error:
        first = error.errors()[0]
        key, found = ".".join(map(str, first["loc"])), hide(repr(first["input"]))
        raise DataError(
            f"{key}: {first['msg']}, found {found}",
            where=f"Prefect's {error.title}",
            fix="Correct it where it is set: a PREFECT_ variable, or Prefect's profiles.toml.",
        ) from None
    sys.stderr.write(said.getvalue())


def http_fault(url: str, page: str = "/health") -> str:
    """Return why a server does not answer its health check; empty if it does.

    If `page` is empty, any answer will do. The certificate is not checked and no login is sent,
    since the client has settings for both.
    """
    import httpx  # noqa: PLC0415  comes with prefect

    def ask() -> str:
        try:
            parts = urlsplit(url)
            address = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
            status = httpx.get(
                f"{address.rstrip('/')}{page}", timeout=PATIENCE_S, verify=False
            ).status_code
        except httpx.TimeoutException:
            return f"no answer within {PATIENCE_S:g} s"
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:
            return hide(str(error)) or type(error).__name__
        if status >= BAD_GATEWAY:
            return f"it answers with status {status}"
        return "something else answers at this address" if page and status == NOT_FOUND else ""

    return _within(PATIENCE_S * 2, ask)


def database_url_fault(url: str) -> str:
    """Return why connecting to the database server at this URL fails; empty if it succeeds."""
    import sqlalchemy as sa  # noqa: PLC0415  comes with prefect and mlflow

    try:
        engine = sa.create_engine(url)
    except (sa.exc.SQLAlchemyError, ImportError, ValueError) as error:
        return hide(str(error))

    def connect() -> str:
        try:
            engine.connect().close()
        except sa.exc.SQLAlchemyError as error:
            return hide(str(getattr(error, "orig", None) or error).strip().partition("\n")[0])
        return ""

    return _within(PATIENCE_S * 2, connect)


def port_fault(host: str, port: int) -> str:
    """Return why nothing can be reached on a port; empty if something can."""
    try:
        socket.create_connection((host, port), timeout=PATIENCE_S).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def database_fault(path: Path, tables: set[str] | None = None, *, reads_all: bool = True) -> str:
    """Return why a SQLite database cannot be written now; empty if it can, or does not exist.

    Args:
        path: The file.
        tables: Tables that the database must have if it has any tables.
        reads_all: Whether to look for damage in all pages, for at most `CHECK_S` seconds.
    """
    if not path.exists():
        return ""
    try:
        database = sqlite3.connect(path, timeout=LOCK_WAIT_S, isolation_level=None)
        try:
            database.execute("BEGIN IMMEDIATE")
            names = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            database.execute("ROLLBACK")
            damage = _damage(database) if reads_all else ""
        finally:
            database.close()
    except sqlite3.Error as error:
        return str(error)
    if tables and names and not tables <= names:
        return f"another program's database, with the tables {', '.join(sorted(names)[:3])}"
    return damage


def _damage(database: sqlite3.Connection) -> str:
    """Return the first damage that SQLite finds within `CHECK_S` seconds."""
    deadline = time.monotonic() + CHECK_S
    database.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
    try:
        (finding,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if str(error) == "interrupted":
            return ""
        raise
    return "" if finding == "ok" else f"the file is damaged: {' '.join(finding.split())}"


def _within(seconds: float, ask: Callable[[], str]) -> str:
    """Return the answer of `ask`, or say that there is none; a thread that hangs is abandoned."""
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(ask()), daemon=True)
    asking.start()
    asking.join(seconds)
    return answers[0] if answers else f"no answer within {seconds:g} s"
