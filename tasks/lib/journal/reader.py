"""Read a journal without changing it."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tasks.lib.core.errors import DataError
from tasks.lib.core.stage import JOURNAL
from tasks.lib.journal.database import Database, has_table
from tasks.lib.journal.legacy import MARK
from tasks.lib.journal.location import Place
from tasks.lib.journal.models import (
    ANSWER,
    LOST,
    OPEN,
    RETRY,
    Answer,
    AnsweredCall,
    CallCost,
    FailedAttempt,
    FailedCall,
)
from tasks.lib.journal.schema import connect_existing, explained

MAX_AHEAD, MAX_KEPT = 64, 512  # rows that are read together, and rows that wait to be needed


class JournalReader:
    """Looks up answers and failed calls; never changes the journal.

    Attributes:
        path: The file or the database.
        has_former_keys: Whether answers may still be stored under keys of an earlier version.

    Raises:
        DataError: There is no journal at `path`, or it cannot be used.
    """

    def __init__(self, path: Place) -> None:
        self._read(path, connect_existing(path, may_migrate=False))

    def answer(self, key: str) -> Answer | None:
        """Return the answer under `key`, or None.

        Raises:
            DataError: The row was edited after it was stored.
        """
        row = self._ahead.pop(key, None)
        if row is None:
            row = self._read_on(key)
        else:
            self._n_used += 1
        if row is None:
            return None
        try:
            answer = Answer.of_row(row)
        except (ValueError, TypeError):
            raise self.changed(key) from None
        if answer.key != key:
            raise self.changed(key)
        return answer

    def failed_attempts(self, *keys: str, with_retried: bool = False) -> list[FailedAttempt]:
        """Return the failed calls for the keys from all runs, the oldest first.

        Args:
            keys: The keys of one request: its current key and its old key.
            with_retried: Include calls that were marked for retry.
        """
        query = (
            f"SELECT outcome, message, reply FROM calls WHERE key IN ({', '.join('?' * len(keys))})"
            f" AND outcome NOT IN ('{OPEN}', '{ANSWER}') ORDER BY id"
        )
        with explained(self.path):
            rows = self._db.execute(query, keys).fetchall()
        if with_retried:
            return [FailedAttempt(row[0].removeprefix(RETRY), *row[1:]) for row in rows]
        return [FailedAttempt(*row) for row in rows if not row[0].startswith(RETRY)]

    def answered_call(self, *keys: str) -> AnsweredCall:
        """Return when an answer was bought, given its current key and its old key.

        The answer must exist. If its call is unknown, the duration is 0.
        """
        places = ", ".join("?" * len(keys))
        query = (
            f"SELECT created, duration_s FROM calls WHERE key IN ({places}) AND "
            f"outcome = '{ANSWER}' UNION ALL SELECT created, 0.0 FROM answers "
            f"WHERE key IN ({places}) LIMIT 1"
        )
        with explained(self.path):
            began, duration_s = self._db.execute(query, (*keys, *keys)).fetchone()
        return AnsweredCall(datetime.fromisoformat(began), duration_s)

    def cost_of_answer(self, key: str) -> CallCost | None:
        """Return the cost of the call that bought the answer; None if the call is unknown."""
        names = ", ".join(CallCost._fields)
        query = f"SELECT {names} FROM calls WHERE key = ? AND outcome = ?"
        with explained(self.path):
            row = self._db.execute(query, (key, ANSWER)).fetchone()
        return row and CallCost(*row)

    def failed_calls(self) -> list[FailedCall]:
        """Return all calls in all runs without an answer, in order; an open one counts as lost."""
        names = ", ".join(CallCost._fields)
        query = f"SELECT key, outcome, {names} FROM calls WHERE outcome != ? ORDER BY id"
        with explained(self.path):
            rows = self._db.execute(query, (ANSWER,)).fetchall()
        return [
            FailedCall(
                key, LOST if outcome == OPEN else outcome.removeprefix(RETRY), CallCost(*cost)
            )
            for key, outcome, *cost in rows
        ]

    def changed(self, key: str) -> DataError:
        """Return the error for an answer that was changed after it was bought."""
        return DataError(
            f"answer {key} was changed after it was stored",
            where=str(self.path),
            fix="Restore the journal from a backup.",
        )

    @property
    def own_file(self) -> Path:
        """The file of this machine's own journal, with the batches next to it."""
        return self.path if isinstance(self.path, Path) else self.path.folder / JOURNAL

    def close(self) -> None:
        """Close the journal."""
        self._db.close()

    def _read(self, path: Place, db: Database) -> None:
        self.path, self._db = path, db
        self.has_former_keys = has_table(db, MARK)
        where = "key = ?"
        if isinstance(db, sqlite3.Connection):  # to read the key from the row, not from the index
            where = "rowid >= (SELECT rowid FROM answers WHERE key = ?) ORDER BY rowid"
        self._query = f"SELECT {', '.join(Answer._fields)} FROM answers WHERE {where} LIMIT ?"
        self._ahead: dict[str, Sequence[Any]] = {}
        self._n_used = 0

    def _read_on(self, key: str) -> Sequence[Any] | None:
        """Return the row of an answer, and keep the next ones, as many as seem to be useful.

        Later questions are likely to need them, since answers are stored in about the order of the
        questions.
        """
        n_rows = min(MAX_AHEAD, 2 + 2 * self._n_used)
        self._n_used = 0
        try:  # without a context manager, since a run may look up a hundred thousand answers
            rows = self._db.execute(self._query, (key, n_rows)).fetchall()
        except Exception:
            with explained(self.path):
                raise
        if len(self._ahead) > MAX_KEPT:
            self._ahead.clear()
        self._ahead |= {row[0]: row for row in rows[1:]}
        return rows[0] if rows else None
