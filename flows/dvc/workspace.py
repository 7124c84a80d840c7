"""The folder a run works in: where it is, and that one run at a time works there."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.errors import Busy, GraphError

STATE_DIR = ".selectllm"


def find_root(start: Path) -> Path:
    """The nearest folder at or above `start` that holds a dvc.yaml.

    Raises:
        GraphError: There is none, or it is not under Git and DVC.
    """
    root = next((f for f in (start, *start.parents) if (f / "dvc.yaml").is_file()), None)
    if root is None:
        raise GraphError(
            f"{start}: no dvc.yaml here or above\n  Run this inside a clone of SelectLLM."
        )
    for folder, remedy in ((".git", "git init"), (".dvc", "dvc init")):
        if not any((f / folder).exists() for f in (root, *root.parents)):
            raise GraphError(
                f"{root}: not a {'Git' if folder == '.git' else 'DVC'} repository\n"
                f"  Clone the project instead of copying it, or run `{remedy}` here."
            )
    return root


@contextmanager
def sole_run(root: Path) -> Iterator[int]:
    """Hold the workspace for one run; gives the lock's file descriptor.

    Children that inherit the descriptor hold the lock too, so that a DVC which outlives a killed
    flow still keeps the next run out.

    Raises:
        Busy: Another run holds it.
    """
    path = root / STATE_DIR / "run.lock"
    path.parent.mkdir(exist_ok=True)
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(lock, 32).decode() or "unknown"
            raise Busy(
                f"{root}: another run works here (process {pid})\n"
                "  Wait for it or stop it with Ctrl-C, then run this again."
            ) from None
        os.truncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        yield lock
    finally:
        os.close(lock)
