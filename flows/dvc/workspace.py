"""Find the folder that a run works in, and lock it for one run at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.lib.core.dvc_yaml import DVC_FILE
from tasks.lib.core.errors import Busy, DataError, GraphError
from tasks.lib.core.stage import STATE_DIR


def find_workspace(start: Path) -> Path:
    """Return the nearest folder at or above `start` that has a dvc.yaml.

    Raises:
        GraphError: No such folder exists, or it is not under Git and DVC.
    """
    workspace = next((f for f in (start, *start.parents) if (f / DVC_FILE).is_file()), None)
    if workspace is None:
        raise GraphError(
            f"found no {DVC_FILE} in this folder or above it",
            where=str(start),
            fix="Run this inside a clone of SelectLLM.",
        )
    for folder, tool in ((".git", "Git"), (".dvc", "DVC")):
        if not any((f / folder).exists() for f in (workspace, *workspace.parents)):
            raise GraphError(
                f"this is not a {tool} repository",
                where=str(workspace),
                fix=f"Clone the project instead of copying it, or run `{tool.lower()} init` here.",
            )
    return workspace


@contextmanager
def run_lock(workspace: Path) -> Iterator[int]:
    """Lock the workspace for one run; yield the lock's file descriptor.

    Child processes that inherit the descriptor also hold the lock. So if a flow is killed, a DVC
    process that outlives it still keeps the next run out.

    Raises:
        Busy: Another run holds the lock.
        DataError: The workspace cannot be written.
    """
    path = workspace / STATE_DIR / "run.lock"
    try:
        path.parent.mkdir(exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        what = f"the workspace is not writable: {error.strerror}"
        fix = "Free some space there or make it writable, then run this again."
        raise DataError(what, where=str(path), fix=fix) from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(lock, 32).decode() or "unknown"
            raise Busy(
                f"another run is in progress here (process {pid})",
                where=str(workspace),
                fix="Wait for it or stop it with Ctrl-C, then run this again.",
            ) from None
        os.truncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        yield lock
    finally:
        os.close(lock)
