"""Allow one writer at a time in a workspace, even if DVC dies and its step keeps running."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from tasks.lib.core.errors import DataError

LOCK_WAIT_S = 30
WATCH_EVERY_S = 0.5


@contextmanager
def write_lock(lock_file: Path) -> Iterator[None]:
    """Hold the write lock of the workspace; the operating system releases it even after a crash.

    Raises:
        DataError: Another step is still writing after half a minute.
    """
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=LOCK_WAIT_S)
    except Timeout:
        raise DataError(
            f"another step is still writing in this workspace after {LOCK_WAIT_S} s",
            where=str(lock_file),
            fix="Let it finish, or find it with `ps -ef | grep tasks.` and stop it. Then run this "
            "again.",
        ) from None
    try:
        yield
    finally:
        lock.release()


def exit_with_parent() -> None:
    """End this process soon after the DVC process that started it ends.

    Otherwise, if DVC were killed, its step would keep writing alongside the next run. Watching the
    parent's pid is not enough: with SHELL=/bin/sh the parent is a shell, which also outlives DVC.
    """
    if "DVC_ROOT" not in os.environ:
        return
    dvc = next((p for p in psutil.Process().parents() if not p.name().endswith("sh")), None)
    if dvc is None or _adopts_orphans(dvc):
        os._exit(1)
    threading.Thread(target=_watch, args=(dvc,), daemon=True).start()


def _adopts_orphans(process: psutil.Process) -> bool:
    """Return whether the system hands orphaned processes to `process`."""
    is_dvc = any(Path(word).name == "dvc" for word in process.cmdline()[:3])
    return not is_dvc and (process.pid == 1 or process.name() in ("systemd", "init"))


def _watch(dvc: psutil.Process) -> None:
    while dvc.is_running() and dvc.status() != psutil.STATUS_ZOMBIE:
        time.sleep(WATCH_EVERY_S)
    os._exit(1)  # at once: nothing has been published yet, and the next run cleans up
