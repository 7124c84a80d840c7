"""Keep track of unfinished batches, in a folder next to the journal.

Each batch has a state file and a request file, which is uploaded. The batch's calls stay open in
the journal until the state file is removed (`tasks.lib.journal.live_runs`).
"""

import json
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from tasks.lib.core.errors import DataError
from tasks.lib.gateway.deployment_settings import Deployment
from tasks.lib.journal.live_runs import BATCHES, batch_file

MAX_REQUESTS = 50_000
MAX_BYTES = 200 * 10**6
"""Limits of one batch, from https://platform.openai.com/docs/guides/batch: 50,000 and 200 MB."""


class Phase(StrEnum):
    """How far a batch has got; written before the next step begins."""

    COLLECTING = "collecting"  # nothing was sent, and the request file may be incomplete
    READY = "ready"  # all requests are in the file
    SUBMITTING = "submitting"  # the batch may exist at the provider
    SUBMITTED = "submitted"


@dataclass(frozen=True)
class _Progress:
    """The contents of a state file."""

    model: str
    api_base: str | None
    n_requests: int = 0
    phase: Phase = Phase.COLLECTING
    file_id: str = ""
    batch_id: str = ""
    submitting_at: float = 0.0  # seconds since 1970


class StoredBatch:
    """An unfinished batch, held by this process.

    Attributes:
        marker: Its unique name, both here and at the provider.
        state: How far it has got, and where it is.
        path: The state file.
        n_bytes: The size of the requests in this process.
    """

    def __init__(self, journal: Path, marker: str) -> None:
        self.marker, self.n_bytes, self._n_taken = marker, 0, 0
        self.path = batch_file(journal, marker)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.path.with_suffix(".lock"), timeout=0)
        self._file: Any = None
        self.state = _Progress("", None)

    @classmethod
    def new(cls, journal: Path, deployment: Deployment) -> Self:
        """Begin a batch for a deployment, and hold it."""
        batch = cls(journal, f"batch-{uuid.uuid4().hex}")
        batch._lock.acquire()
        batch.save(model=deployment.model, api_base=deployment.api_base)
        batch._file = batch.requests_path.open("wb")
        return batch

    @property
    def requests_path(self) -> Path:
        """The request file."""
        return self.path.with_suffix(".jsonl")

    @property
    def exists(self) -> bool:
        """Whether the batch is unfinished."""
        return self.path.exists()

    def try_hold(self) -> bool:
        """Hold the batch and read its state; return False if another process holds it.

        Raises:
            DataError: The state file has been changed.
        """
        try:
            self._lock.acquire()
        except Timeout:
            return False
        if self.exists:
            self._read()
        return True

    @property
    def is_empty(self) -> bool:
        """Whether no request has been added."""
        return not self.state.n_requests

    def has_room(self, line: bytes, max_bytes: int) -> bool:
        """Return whether a request can be added."""
        return self._n_taken < MAX_REQUESTS and self.n_bytes + len(line) <= max_bytes

    def take(self, line: bytes) -> None:
        """Count a request that is about to be added."""
        self._n_taken += 1
        self.n_bytes += len(line)

    def add(self, line: bytes) -> None:
        """Append a request, which the journal has reserved."""
        self._file.write(line)
        self.state = replace(self.state, n_requests=self.state.n_requests + 1)

    def seal(self) -> None:
        """Make sure that the request file is on disk and complete; forget an empty batch."""
        if self.is_empty:
            self.remove()
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self.save(phase=Phase.READY)

    def begin_submitting(self) -> None:
        """Record that the batch may exist at the provider from now on."""
        self.save(phase=Phase.SUBMITTING, submitting_at=time.time())

    def save(self, **changes: Any) -> None:
        """Change the state in memory and on disk."""
        self.state = replace(self.state, **changes)
        part = self.path.with_suffix(".part")
        with part.open("w", encoding="utf-8") as file:
            json.dump(asdict(self.state), file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.path)

    def release(self) -> None:
        """Let another process hold the batch."""
        if self._file is not None:
            self._file.close()
        self._lock.release(force=True)

    def remove(self) -> None:
        """Forget the batch, which is finished."""
        self.path.unlink(missing_ok=True)
        self.requests_path.unlink(missing_ok=True)
        self.release()
        self.path.with_suffix(".lock").unlink(missing_ok=True)

    def _read(self) -> None:
        try:
            values = json.loads(self.path.read_text(encoding="utf-8"))
            self.state = _Progress(**values | {"phase": Phase(values["phase"])})
        except (ValueError, TypeError, KeyError, OSError):
            raise DataError(
                "this file does not describe a batch",
                where=str(self.path),
                fix="Restore it from a backup. If you delete it, its requests are paid for again.",
            ) from None


def left_behind(journal: Path) -> Iterator[StoredBatch]:
    """Hold and yield the batches that dead runs left behind."""
    for path in sorted((journal.parent / BATCHES).glob("*.json")):
        batch = StoredBatch(journal, path.stem)
        if not batch.try_hold():
            continue
        if batch.exists:
            yield batch
        else:
            batch.release()


def has_unfinished(journal: Path) -> bool:
    """Return whether any run with this journal left a batch unfinished."""
    return any((journal.parent / BATCHES).glob("*.json"))
