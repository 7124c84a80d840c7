"""Responses that were made before: a run that was stopped, or whose pool grew, asks for new ones.

One SQLite file, which may be deleted: what was in it is then made anew.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tasks.lib.core.errors import DataError

VERSION = 1
BUSY_TIMEOUT_S = 30  # another run may be writing

_TABLE = """
CREATE TABLE IF NOT EXISTS responses (
    key TEXT PRIMARY KEY,
    text TEXT NOT NULL,
    mean_logprob REAL
) STRICT, WITHOUT ROWID
"""


class Response(NamedTuple):
    """What the model said.

    Attributes:
        text: Empty where it had nothing to say.
        mean_logprob: The natural logarithm of a token's probability, given all before it, mean
            over the response's tokens; None of no token, or where it was not asked for.
    """

    text: str
    mean_logprob: float | None


class ResponseStore:
    """The kept responses by their key, each on disk as soon as it is put."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            DataError: It cannot be used, as with every other call.
        """
        self._path = path
        with self._told():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S)
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    def __contains__(self, key: str) -> bool:
        with self._told():
            found = self._db.execute("SELECT 1 FROM responses WHERE key = ?", (key,))
            return found.fetchone() is not None

    def __getitem__(self, key: str) -> Response:
        with self._told():
            query = "SELECT text, mean_logprob FROM responses WHERE key = ?"
            row = self._db.execute(query, (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        return Response(*row)

    def put(self, key: str, response: Response) -> None:
        """Keep a response; the first of a key stays."""
        with self._told():
            self._db.execute("INSERT OR IGNORE INTO responses VALUES (?, ?, ?)", (key, *response))

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def _prepare(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version not in (0, VERSION):
            raise sqlite3.DatabaseError(f"it has version {version}, not {VERSION}")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the last ones
        self._db.execute(_TABLE)
        self._db.execute(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise DataError(
                f"the kept responses cannot be used: {error}",
                where=str(self._path),
                fix="See that the disk has room and the file may be written. If it is damaged, "
                "delete it: the responses in it are then made anew.",
            ) from None
