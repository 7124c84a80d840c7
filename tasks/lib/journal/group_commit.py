"""Commit all pending writes at once, since a commit takes as long for one write as for many."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from tasks.lib.journal.database import Database, begin

T = TypeVar("T")
MAX_BATCH = 256


class _Job(NamedTuple):
    work: Callable[[Database], Any]
    done: "asyncio.Future[Any]"


class GroupCommit:
    """Runs jobs on a database, in order, in a separate thread.

    All pending jobs go into one transaction. If one of them raises, the whole transaction fails.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, work: Callable[[Database], T]) -> T:
        """Return the result of `work` once everything that it wrote is on disk.

        The work is done even if the caller is cancelled while waiting.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="journal", daemon=True)
            self._thread.start()
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(work, done))
        return await done

    def close(self) -> None:
        """Finish pending jobs, and end the thread."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None

    def _serve(self) -> None:
        is_open = True
        while is_open:
            batch = [self._jobs.get()]
            with suppress(Empty):
                while len(batch) < MAX_BATCH:
                    batch.append(self._jobs.get_nowait())
            is_open = None not in batch
            jobs = [job for job in batch if job is not None]
            if jobs:
                self._commit(jobs)

    def _commit(self, jobs: list[_Job]) -> None:
        results: list[Any] = []
        error: Exception | None = None
        try:
            with self._db:
                begin(self._db)
                results = [job.work(self._db) for job in jobs]
        except Exception as caught:  # any kind of error is passed on to the waiting tasks
            error = caught
        for i, job in enumerate(jobs):
            with suppress(RuntimeError):  # the loop of an interrupted run may be closed
                job.done.get_loop().call_soon_threadsafe(
                    _resolve, job.done, None if error else results[i], error
                )


def _resolve(done: "asyncio.Future[Any]", result: Any, error: Exception | None) -> None:
    if done.done():  # cancelled meanwhile
        return
    if error is not None:
        done.set_exception(error)
    else:
        done.set_result(result)
