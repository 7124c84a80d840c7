"""End a run soon after the Prefect server that it started for itself dies.

Prefect's client would try to reach that server for a minute in each request, and for five minutes
in all, although a dead server of this kind is never restarted.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil

from flows.cli import console
from flows.cli.supervise import STOP_WITHIN_S, WATCH_EVERY_S
from tasks.lib.core.errors import DataError

SERVER = "prefect.server.api.server:create_app"  # a word in its command line


@contextlib.contextmanager
def end_with_own_server() -> Iterator[None]:
    """End this program with an error if its own Prefect server dies within the block."""
    is_over = threading.Event()
    threading.Thread(target=_watch, args=(is_over,), daemon=True).start()
    try:
        yield
    finally:
        is_over.set()


def _watch(is_over: threading.Event) -> None:
    server = None
    while not is_over.wait(WATCH_EVERY_S):
        if server is None:
            server = _own_server()
        elif not _is_alive(server):
            _end()


def _own_server() -> psutil.Process | None:
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if SERVER in child.cmdline():
                return child
    return None


def _is_alive(server: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return server.is_running() and server.status() != psutil.STATUS_ZOMBIE
    return False


def _end() -> None:
    """Interrupt the run, so that its stage ends cleanly, and end the program with an error."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(STOP_WITHIN_S)
    fix = "Run it again to continue; no finished work and no paid answer is lost."
    failure = DataError("the server that this run started has died", where="Prefect", fix=fix)
    console.failed(failure)
    sys.stdout.flush()
    os._exit(failure.exit_code)  # Prefect would still try to send its logs
