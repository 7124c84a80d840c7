"""Store bought answers, and the price of every call: reserved before the call, settled after it."""

import asyncio
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from tasks.lib.core.events import log
from tasks.lib.journal.copy_to_shared import share_own
from tasks.lib.journal.database import Database, new_run
from tasks.lib.journal.group_commit import GroupCommit, T
from tasks.lib.journal.location import Place, SharedJournal
from tasks.lib.journal.models import (
    ANSWER,
    LOST,
    OPEN,
    UNNAMED,
    Answer,
    Call,
    CallCost,
    OpenCall,
    Refused,
    SelectionName,
    Settled,
)
from tasks.lib.journal.reader import JournalReader
from tasks.lib.journal.schema import connect, explained
from tasks.lib.journal.spending_cap import SpendingCap


class Journal(JournalReader):
    """A journal in which one run of a selection looks up answers and records its calls.

    Several runs can use it at once: no two buy the same answer, and together the runs of a
    selection never spend more than its cap. A call that a killed run leaves open counts at its
    upper bound. An existing file is never overwritten, since it may be the only record of what
    was paid.

    Attributes:
        n_new: Number of answers that this run has stored.

    Args:
        path: The journal's file or database; created if it is missing.
        selection: The name under which spending is capped.
        cap_usd: The maximum cost of the calls for this selection, in all runs together.

    Raises:
        DataError: It is not a journal, is damaged, or cannot be read or written.
    """

    def __init__(
        self,
        path: Place,
        selection: SelectionName = UNNAMED,
        *,
        cap_usd: float = math.inf,
    ) -> None:
        if isinstance(path, SharedJournal) and (copied := share_own(path)):
            log.info("journal: %s", copied)
        self._read(path, connect(path))
        self._selection, self._cap = selection.name, SpendingCap(selection.name, cap_usd)
        self._writer = connect(path)
        self._commits = GroupCommit(self._writer)
        self._run = new_run(self._db, path)
        self._n_open = 0
        self.n_new = 0
        self._ended = asyncio.Event()
        if selection.former and self.has_former_keys:
            with explained(path):
                self._cap.carry_over(self._db, selection.former)

    @property
    def spent_usd(self) -> float:
        """The cost of this selection's calls so far; an open call counts at its upper bound."""
        with explained(self.path):
            return self._cap.spent_usd(self._db)

    async def adopt(self, key: str, former_key: str) -> None:
        """Copy the answer stored under `former_key` to `key`."""
        names = ", ".join((*Answer._fields[1:], "created"))
        query = (
            f"INSERT INTO answers (key, {names}) "
            f"SELECT ?, {names} FROM answers WHERE key = ? ON CONFLICT DO NOTHING"
        )
        await self._write(lambda db: db.execute(query, (key, former_key)))

    async def reserve(self, call: Call, batch: str = "") -> int | Refused:
        """Record the call at its upper bound and return its id, or why it must not be made.

        A call of a batch stays open when this run ends, until the batch's file is removed.
        """
        with explained(self.path):
            is_first = self._run.begin()
        if is_first:
            await self._write(self._write_off)
        if batch:
            return await self._write(lambda db: self._reserve(db, call, batch))
        self._n_open += 1  # before the write, since other tasks may wait for this call to end
        reserved: int | Refused | None = None
        try:
            reserved = await self._write(lambda db: self._reserve(db, call, self._run.id))
        finally:
            if not isinstance(reserved, int):
                self._end_call()
        return reserved

    def open_calls(self, batch: str) -> dict[str, OpenCall]:
        """Return a batch's calls that are not settled, by key."""
        names = ", ".join(CallCost._fields)
        query = f"SELECT key, id, {names} FROM calls WHERE run = ? AND outcome = '{OPEN}'"
        with explained(self.path):
            rows = self._db.execute(query, (batch,)).fetchall()
        return {key: OpenCall(call_id, CallCost(*cost)) for key, call_id, *cost in rows}

    def holder(self, key: str) -> str | None:
        """Return the live run or batch with an open call for the key, or None."""
        query = f"SELECT run FROM calls WHERE key = ? AND outcome = '{OPEN}'"
        with explained(self.path):
            row = self._db.execute(query, (key,)).fetchone()
        return str(row[0]) if row and self._run.is_alive(row[0]) else None

    async def settle_batch(self, outcomes: Mapping[int, Settled]) -> None:
        """Record the outcomes of a batch's calls that got no answer, by call id."""

        def work(db: Database) -> None:
            for call_id, settled in outcomes.items():
                self._settle(db, call_id, settled)

        await self._write(work)

    async def settle(self, call_id: int, settled: Settled, *, in_batch: bool = False) -> None:
        """Record the outcome of a call that got no answer."""
        await self._write_last(lambda db: self._settle(db, call_id, settled), in_batch)

    async def keep(
        self, call_id: int, answer: Answer, duration_s: float, *, in_batch: bool = False
    ) -> None:
        """Settle a call that got an answer, and store the answer."""
        facts = answer._asdict() | {"outcome": ANSWER, "message": "", "reply": ""}
        facts |= {"duration_s": duration_s, "remark": answer.finish_reason}
        settled = Settled(**{name: facts[name] for name in Settled._fields})
        row = dict(zip(Answer._fields, answer.as_row(), strict=True)) | {"created": _now()}

        def work(db: Database) -> None:
            self._settle(db, call_id, settled)
            _insert(db, "answers", row, "ON CONFLICT DO NOTHING")

        await self._write_last(work, in_batch)
        self.n_new += 1

    async def wait_for_room(self) -> bool:
        """Wait until one of this run's calls ends; return False at once if none is open."""
        if not self._n_open:
            return False
        await self._ended.wait()
        return True

    def close(self) -> None:
        """Finish pending writes, and close the journal."""
        self._commits.close()
        self._run.end()
        self._writer.close()
        super().close()

    async def _write(self, work: Callable[[Database], T]) -> T:
        with explained(self.path):
            return await self._commits.run(work)

    async def _write_last(self, work: Callable[[Database], None], in_batch: bool) -> None:
        """Make the last write for a call, then count the call as ended."""
        try:
            await self._write(work)
        finally:  # even if the disk is full, since other tasks may wait for room
            if not in_batch:
                self._end_call()

    def _reserve(self, db: Database, call: Call, run: str) -> int | Refused:
        if db.execute("SELECT 1 FROM answers WHERE key = ?", (call.key,)).fetchone():
            return Refused.ANSWERED
        taken = db.execute(
            f"SELECT run FROM calls WHERE key = ? AND outcome = '{OPEN}'", (call.key,)
        ).fetchone()
        if taken:
            if self._run.is_alive(taken[0]):
                return Refused.TAKEN
            self._write_off(db)
        if call.usd and not self._cap.reserve(db, call.usd):
            return Refused.OVER_CAP
        row = {"selection": self._selection, "run": run, **call._asdict()}
        row |= {"outcome": OPEN, "message": "", "reply": "", "duration_s": 0.0, "created": _now()}
        (call_id,) = _insert(db, "calls", row, "RETURNING id").fetchone()
        return int(call_id)

    def _settle(self, db: Database, call_id: int, settled: Settled) -> None:
        self._cap.settle(db, call_id, settled.usd)
        db.execute(
            f"UPDATE calls SET {', '.join(f'{name} = ?' for name in Settled._fields)} WHERE id = ?",
            (*settled, call_id),
        )

    def _write_off(self, db: Database) -> None:
        """Mark the open calls of dead runs as lost; they stay recorded at their upper bounds."""
        runs = db.execute(f"SELECT DISTINCT run FROM calls WHERE outcome = '{OPEN}'").fetchall()
        for (run,) in runs:
            if not self._run.is_alive(run):
                db.execute(
                    f"UPDATE calls SET outcome = '{LOST}' WHERE run = ? AND outcome = '{OPEN}'",
                    (run,),
                )
                self._run.forget(run)

    def _end_call(self) -> None:
        self._n_open -= 1
        self._ended.set()
        self._ended = asyncio.Event()


def _insert(db: Database, table: str, row: Mapping[str, Any], how: str) -> Any:
    places = ", ".join("?" * len(row))
    query = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places}) {how}"
    return db.execute(query, tuple(row.values()))


def _now() -> str:
    return datetime.now(UTC).isoformat()
