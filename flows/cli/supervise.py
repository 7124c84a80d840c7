"""Run a flow in its own process session, and end it within seconds of a signal.

Prefect's ephemeral server shares the process group of its flow. Ctrl-C in a terminal would reach
the server first, and the flow would keep calling a dead server until it is killed.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import FrameType

import psutil

from flows.no_proxy import with_direct_loopback
from tasks.lib.core.errors import INTERRUPTED

STOP_WITHIN_S = 3.5
WATCH_EVERY_S = 0.5
SUPERVISOR = "SELECTLLM_SUPERVISOR"  # the pid, in the environment of the program
END_RUN_WITHIN_S = 12.0  # of a run that `selectllm serve` started: its stage ends, then it reports

QUIET = {
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def supervise(
    command: Sequence[str],
    defaults: Mapping[str, str] = QUIET,
    *,
    stop_within_s: float = STOP_WITHIN_S,
) -> int:
    """Run `command` until it ends or a signal arrives; return its exit status, or 130.

    The first SIGINT or SIGTERM is passed on to the command as SIGINT. Processes of its session that
    are still running `stop_within_s` later, or after the command ends by itself, are killed.
    """
    env = with_direct_loopback(defaults | os.environ) | {SUPERVISOR: str(os.getpid())}
    process = subprocess.Popen(command, env=env, start_new_session=True)
    stopped = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        if not stopped:
            stopped = True
            process.send_signal(signal.SIGINT)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    while process.poll() is None and not stopped:
        try:
            process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            continue
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=stop_within_s)
    _end_session(process.pid)
    return INTERRUPTED if stopped else process.wait()


def _end_session(leader: int) -> None:
    """Kill every process that still belongs to the session."""
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader:
                process.kill()
        except (psutil.Error, ProcessLookupError, PermissionError):
            continue


def end_with_supervisor(stop_within_s: float = STOP_WITHIN_S) -> None:
    """Interrupt this program, as Ctrl-C does, soon after the process that supervises it dies.

    Processes of its session that are still running `stop_within_s` later are killed.
    """
    parent = os.getppid()
    if os.environ.get(SUPERVISOR) == str(parent):
        threading.Thread(target=_watch, args=(parent, stop_within_s), daemon=True).start()


def _watch(parent: int, stop_within_s: float) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_EVERY_S)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(stop_within_s)
    _end_session(os.getpid())
