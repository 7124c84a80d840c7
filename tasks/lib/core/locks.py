"""One writer at a time in a workspace, also when DVC was killed and its step lived on."""

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
def sole_writer(lock_file: Path) -> Iterator[None]:
    """Hold the workspace's writing lock; the system frees it however this process ends.

    Raises:
        DataError: Another step still writes after half a minute.
    """
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=LOCK_WAIT_S)
    except Timeout:
        raise DataError(
            f"another step still writes in this workspace after {LOCK_WAIT_S} s",
            where=str(lock_file),
            fix="Let it finish or end it (`ps -ef | grep tasks.`), then run this again.",
        ) from None
    try:
        yield
    finally:
        lock.release()


def end_with_dvc() -> None:
    """End this process soon after the DVC process that started it has gone, or at once if it has.

    A step outlives a killed dvc and would write beside the next run's step. The parent's pid alone
    is no sign: with SHELL=/bin/sh a shell, which lives on as well, stands between the two.
    """
    if "DVC_ROOT" not in os.environ:
        return
    dvc = next((p for p in psutil.Process().parents() if not p.name().endswith("sh")), None)
    if dvc is None or _adopts_orphans(dvc):
        os._exit(1)
    threading.Thread(target=_watch, args=(dvc,), daemon=True).start()


def _adopts_orphans(process: psutil.Process) -> bool:
    """Whether it is what the system makes the parent of a process that lost its own."""
    is_dvc = any(Path(word).name == "dvc" for word in process.cmdline()[:3])
    return not is_dvc and (process.pid == 1 or process.name() in ("systemd", "init"))


def _watch(dvc: psutil.Process) -> None:
    while dvc.is_running() and dvc.status() != psutil.STATUS_ZOMBIE:
        time.sleep(WATCH_EVERY_S)
    os._exit(1)  # at once: nothing was published, and cleaning up belongs to the next run
