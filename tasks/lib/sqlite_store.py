"""Keep results that are slow to recompute in a key-value store, in one SQLite file."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.lib.core.errors import DataError
from tasks.lib.core.private_file import make_private

VERSION = 1
BUSY_TIMEOUT_S = 30  # another run may be writing


class SqliteStore:
    """The rows of one table, stored by key.

    Once `put` has returned, a row survives the end of the process. A power failure may lose the
    last rows, but never leaves half a row.
    """

    def __init__(self, path: Path, table: str, columns: str) -> None:
        """Open the file, or create it.

        Args:
            path: The file.
            table: The name of the table: a plural noun, which error messages use too.
            columns: The SQL definitions of the columns; the first column is the key.

        Raises:
            DataError: The file cannot be used. Every other method can raise it too.
        """
        self._path, self._table = path, table
        self._key, *others = (column.split()[0] for column in columns.split(","))
        self._places = ", ".join("?" * (1 + len(others)))
        with self._checked():
            path.parent.mkdir(parents=True, exist_ok=True)
            make_private(path)
            self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)
            try:
                self._prepare(columns)
            except BaseException:
                self._db.close()
                raise

    def get(self, key: Any) -> tuple[Any, ...] | None:
        """Return the row of a key, excluding the key itself, or None if there is no such row."""
        with self._checked():
            query = f"SELECT * FROM {self._table} WHERE {self._key} = ?"
            row: tuple[Any, ...] | None = self._db.execute(query, (key,)).fetchone()
        return row and row[1:]

    def put(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Write all rows or none, replacing rows with the same key, which is the first column."""
        with self._checked(), self._db:
            self._db.executemany(
                f"INSERT OR REPLACE INTO {self._table} VALUES ({self._places})", rows
            )

    def clear(self) -> None:
        """Delete all rows."""
        with self._checked(), self._db:
            self._db.execute(f"DELETE FROM {self._table}")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _prepare(self, columns: str) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version not in (0, VERSION):
            raise sqlite3.DatabaseError(f"expected version {VERSION}, found version {version}")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute(
            f"CREATE TABLE IF NOT EXISTS {self._table} ({columns}, PRIMARY KEY ({self._key}))"
        )
        self._db.execute(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def _checked(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise DataError(
                f"the stored {self._table} cannot be used: {error}",
                where=str(self._path),
                fix="Check that the disk has room and that the file is writable, then run this "
                f"again. If the file is damaged, delete it: its {self._table} are then recomputed.",
            ) from None
