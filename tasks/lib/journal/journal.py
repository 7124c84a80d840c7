"""Answers that were bought, and every call's price: reserved before it, settled after it."""

import asyncio
import math
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.lib.journal.group_commit import Commits
from tasks.lib.journal.liveness import ThisRun
from tasks.lib.journal.models import ANSWER, LOST, OPEN, Answer, Call, Refused, Settled, Tried
from tasks.lib.journal.schema import connect, told


class Journal:
    """The journal at a path, as one run of one selection uses it.

    Safe for several runs at once: no two buy the same answer, and together those of one selection
    do not spend more than its cap. What a run leaves open when it is killed counts as spent in
    full. A file that is there is never made anew, for it may be the only trace of what was paid.

    Attributes:
        may_buy: Whether answers that are not in it may be asked for.

    Args:
        path: The file; made when it is missing.
        selection: Whose spending is capped: all runs that give the same name share one cap.
        cap_usd: The most that calls for this selection may cost, in all runs together.

    Raises:
        DataError: The file is no journal, is damaged, or cannot be read or written.
    """

    may_buy = True

    def __init__(self, path: Path, *, selection: str = "", cap_usd: float = math.inf) -> None:
        self.path, self._selection, self._cap_usd = path, selection, cap_usd
        self._db = connect(path)
        self._commits = Commits(connect(path))
        self._run = ThisRun(path.parent / "runs")
        self._n_open = 0
        self._settled = asyncio.Event()

    def answer(self, key: str) -> Answer | None:
        """The answer under `key`, if there is one."""
        with told(self.path):
            row = self._db.execute(
                f"SELECT {', '.join(Answer._fields)} FROM answers WHERE key = ?", (key,)
            ).fetchone()
        return None if row is None else Answer.of_row(row)

    def tried(self, key: str) -> list[Tried]:
        """The calls for `key` that failed, in this run or an earlier one, in their order."""
        with told(self.path):
            rows = self._db.execute(
                "SELECT outcome, message, reply FROM calls WHERE key = ? AND outcome NOT IN "
                f"('{OPEN}', '{ANSWER}') ORDER BY id",
                (key,),
            ).fetchall()
        return [Tried(*row) for row in rows]

    @property
    def spent_usd(self) -> float:
        """What calls for this selection cost so far, with those under way at their most."""
        with told(self.path):
            row = self._db.execute(
                "SELECT usd FROM spending WHERE selection = ?", (self._selection,)
            ).fetchone()
        return float(row[0]) if row else 0.0

    async def reserve(self, call: Call) -> int | Refused:
        """The id under which the call is booked at its most, or why it must not be made."""
        with told(self.path):
            if self._run.begin():
                await self._commits.do(self._write_off)
            self._n_open += 1  # before others look: they may wait for this one
            booked: int | Refused | None = None
            try:
                booked = await self._commits.do(lambda db: self._reserve(db, call))
            finally:
                if not isinstance(booked, int):
                    self._ended()
        return booked

    async def settle(self, call_id: int, settled: Settled) -> None:
        """Book what became of a call that brought no answer."""
        try:
            with told(self.path):
                await self._commits.do(lambda db: self._settle(db, call_id, settled))
        finally:  # who waits for room has to hear of a full disk, too
            self._ended()

    async def keep(self, call_id: int, answer: Answer, duration_s: float) -> None:
        """Settle a call by its answer, and keep that."""

        def work(db: sqlite3.Connection) -> None:
            (key,) = db.execute("SELECT key FROM calls WHERE id = ?", (call_id,)).fetchone()
            used = answer.prompt_tokens, answer.completion_tokens, answer.usd, answer.is_bound
            self._settle(db, call_id, Settled(ANSWER, "", "", *used, duration_s))
            names = ("key", *Answer._fields, "created")
            _insert(db, "INSERT OR IGNORE INTO answers", names, [key, *answer.as_row(), _now()])

        try:
            with told(self.path):
                await self._commits.do(work)
        finally:
            self._ended()

    async def room(self) -> bool:
        """Wait until a call of this run has ended; False at once when none is under way."""
        if not self._n_open:
            return False
        await self._settled.wait()
        return True

    def close(self) -> None:
        """Write what waits, and close the file."""
        self._commits.close()
        self._run.end()
        self._commits.db.close()
        self._db.close()

    def _reserve(self, db: sqlite3.Connection, call: Call) -> int | Refused:
        if db.execute("SELECT 1 FROM answers WHERE key = ?", (call.key,)).fetchone():
            return Refused.ANSWERED
        taken = db.execute(
            f"SELECT run FROM calls WHERE key = ? AND outcome = '{OPEN}'", (call.key,)
        ).fetchone()
        if taken:
            if self._run.lives(taken[0]):
                return Refused.TAKEN
            self._write_off(db)
        if call.usd and not self._spend(db, call.usd):
            return Refused.OVER
        names = ("selection", "run", *Call._fields, "outcome", "message", "reply")
        values = (self._selection, self._run.id, *call, OPEN, "", "")
        names_after, values_after = ("is_bound", "duration_s", "created"), (1, 0.0, _now())
        return _insert(db, "INSERT INTO calls", names + names_after, values + values_after)

    def _spend(self, db: sqlite3.Connection, usd: float) -> bool:
        db.execute("INSERT OR IGNORE INTO spending VALUES (?, 0)", (self._selection,))
        done = db.execute(
            "UPDATE spending SET usd = usd + ? WHERE selection = ? AND usd + ? <= ?",
            (usd, self._selection, usd, self._cap_usd),
        )
        return done.rowcount == 1

    def _settle(self, db: sqlite3.Connection, call_id: int, settled: Settled) -> None:
        db.execute(
            "UPDATE spending SET usd = usd + ? - (SELECT usd FROM calls WHERE id = ?) "
            "WHERE selection = ?",
            (settled.usd, call_id, self._selection),
        )
        db.execute(
            f"UPDATE calls SET {', '.join(f'{name} = ?' for name in Settled._fields)} WHERE id = ?",
            (*settled, call_id),
        )

    def _write_off(self, db: sqlite3.Connection) -> None:
        """Close the calls of runs that are dead, at the most that they can have cost."""
        runs = db.execute(f"SELECT DISTINCT run FROM calls WHERE outcome = '{OPEN}'").fetchall()
        for (run,) in runs:
            if not self._run.lives(run):
                db.execute(
                    f"UPDATE calls SET outcome = '{LOST}' WHERE run = ? AND outcome = '{OPEN}'",
                    (run,),
                )
                self._run.forget(run)

    def _ended(self) -> None:
        self._n_open -= 1
        self._settled.set()
        self._settled = asyncio.Event()


def _insert(db: sqlite3.Connection, verb: str, names: Sequence[str], values: Sequence[Any]) -> int:
    marks = ", ".join("?" * len(names))
    done = db.execute(f"{verb} ({', '.join(names)}) VALUES ({marks})", values)
    return int(done.lastrowid or 0)


def _now() -> str:
    return datetime.now(UTC).isoformat()
