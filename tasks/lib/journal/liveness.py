"""Which runs live: each holds a lock, which ends with its process however that ends."""

import uuid
from pathlib import Path

from filelock import FileLock, Timeout


class ThisRun:
    """The run of this process, among those whose locks lie in one folder.

    Attributes:
        id: Its name, which no other run has.
    """

    def __init__(self, folder: Path) -> None:
        self.id, self._folder = uuid.uuid4().hex, folder
        self._alive = FileLock(self._lock_of(self.id))

    def begin(self) -> bool:
        """Take the lock; False where it is held already."""
        if self._alive.is_locked:
            return False
        self._folder.mkdir(exist_ok=True)
        self._alive.acquire()
        return True

    def end(self) -> None:
        """Give the lock back, if it is held."""
        if self._alive.is_locked:
            self._alive.release()
            self.forget(self.id)

    def lives(self, run: str) -> bool:
        """Whether a run still holds its lock."""
        if run == self.id:
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
        """Remove what is left of a dead run's lock."""
        self._lock_of(run).unlink(missing_ok=True)

    def _lock_of(self, run: str) -> Path:
        return self._folder / f"{run}.lock"
