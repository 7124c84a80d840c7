"""Writing with one commit for all that is waiting: a commit costs the same for one and for many."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
MAX_BATCH = 256


class _Job(NamedTuple):
    work: Callable[[sqlite3.Connection], Any]
    done: "asyncio.Future[Any]"


class Commits:
    """Runs pieces of work on a database, in their order, in a thread of its own.

    All that waits at the time goes into one transaction. A piece of work that raises fails all of
    that transaction.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` returns, once all that it wrote is on disk.

        When the caller is cancelled while it waits, the work is done all the same.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
            self._thread.start()
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(work, done))
        return await done

    def close(self) -> None:
        """Finish what waits, and end the thread."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
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
            self.db.execute("BEGIN IMMEDIATE")
            try:
                results = [job.work(self.db) for job in jobs]
                self.db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self.db.execute("ROLLBACK")
                raise
        except Exception as caught:  # whatever it is, those who wait have to hear it
            error = caught
        for i, job in enumerate(jobs):
            with suppress(RuntimeError):  # the loop of an interrupted run may be closed
                job.done.get_loop().call_soon_threadsafe(
                    _tell, job.done, None if error else results[i], error
                )


def _tell(done: "asyncio.Future[Any]", result: Any, error: Exception | None) -> None:
    if done.done():  # cancelled meanwhile
        return
    if error is not None:
        done.set_exception(error)
    else:
        done.set_result(result)
