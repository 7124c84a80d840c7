"""Find out which runs are alive: each holds a lock until its process ends, for whatever reason.

A batch of calls outlives its run: it is alive until its file is removed.
"""

import uuid
from pathlib import Path

from filelock import FileLock, Timeout

BATCHES = "batches"


def batch_file(journal: Path, batch: str) -> Path:
    """Return the path of the file that exists as long as a batch may bring answers."""
    return journal.parent / BATCHES / f"{batch}.json"


class LiveRun:
    """This process's run, and access to the locks of all runs in the same folder.

    Attributes:
        id: The unique name of the run.

    Args:
        journal: The journal of the runs; the lock files are in a folder next to it.
    """

    def __init__(self, journal: Path) -> None:
        self.id, self._folder = uuid.uuid4().hex, journal.parent / "runs"
        self._journal = journal
        self._alive = FileLock(self._lock_of(self.id))

    def begin(self) -> bool:
        """Take the lock; return False if this run already holds it."""
        if self._alive.is_locked:
            return False
        self._folder.mkdir(exist_ok=True)
        self._alive.acquire()
        return True

    def end(self) -> None:
        """Release the lock, if it is held."""
        if self._alive.is_locked:
            self._alive.release()
            self.forget(self.id)

    def is_alive(self, run: str) -> bool:
        """Return whether a run still holds its lock, or a batch still has its file."""
        if run == self.id or batch_file(self._journal, run).exists():
            return True
        path = self._lock_of(run)
        if not path.exists():
            return False
        try:
            with FileLock(path, timeout=0):
                return False
        except Timeout:
            return True

    def forget(self, run: str) -> None:
        """Remove the lock file of a dead run."""
        self._lock_of(run).unlink(missing_ok=True)

    def _lock_of(self, run: str) -> Path:
        return self._folder / f"{run}.lock"
