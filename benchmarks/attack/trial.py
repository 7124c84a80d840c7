"""Run a program with limits on memory and time, and judge how it ended."""

import multiprocessing
import os
import runpy
import signal
import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

MAX_MB, MAX_S = 1500.0, 60.0
MAX_MESSAGE = 4000  # characters, progress included
POLL_S = 0.02
PRELOADED = [
    *("litellm", "numpy", "pyarrow.parquet", "tasks.llm_select.step", "tasks.ingest.step"),
    *("tasks.fetch.step", "tasks.lib.gateway.endpoint", "flows.cli.commands", "tasks.audit.verify"),
]
"""Modules that are loaded once, from which each program is forked."""
KNOWN_STATUS = {0, 1, 2, 3, 130}


class Ran(NamedTuple):
    """A program that has ended."""

    status: int
    output: str  # both streams
    seconds: float
    cpu_s: float
    peak_mb: float
    stopped: str = ""  # which limit it passed


class Finding(NamedTuple):
    """What an attack achieved: it broke a promise, or ended the program roughly."""

    is_broken: bool
    what: str


def broken(what: str) -> Finding:
    """Return a finding that a promise was broken."""
    return Finding(True, what)


def rough(what: str) -> Finding:
    """Return a finding that a program ended roughly."""
    return Finding(False, what)


_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(PRELOADED)


def run(  # noqa: PLR0913
    module: str,
    *words: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    patience: float = 1.0,
    limits: Iterable[tuple[int, int]] = (),
    stdout: str = "",
    log: Path | None = None,
) -> Ran:
    """Run a module as a program, in its own session; end it when it passes a limit.

    Args:
        module: The module, such as tasks.ingest.
        words: Its arguments.
        cwd: Its folder.
        env: Changes of the environment.
        patience: A factor for the limit of time, for a busy machine.
        limits: Resource limits of the operating system, each with its value.
        stdout: What is wrong with the standard output: full, closed or broken pipe.
        log: The file for the output; by default, one in `cwd` that is removed afterwards.
    """
    log = log or cwd / f".output-{time.monotonic_ns()}"
    process = _context.Process(
        target=_program, args=(module, words, cwd, dict(env or {}), log, tuple(limits), stdout)
    )
    start = time.monotonic()
    process.start()
    peak, cpu_s, stopped = 0.0, 0.0, ""
    while process.is_alive() and not stopped:
        process.join(POLL_S)
        rss, cpu_s = _used(process.pid or 0, cpu_s)
        peak = max(peak, rss)
        if peak > MAX_MB:
            stopped = f"more than {MAX_MB:.0f} MB"
        elif time.monotonic() - start > MAX_S * patience or cpu_s > MAX_S:
            stopped = f"more than {MAX_S * patience:.0f} s ({cpu_s:.0f} s of processor time)"
    seconds = time.monotonic() - start
    if stopped:
        _kill_tree(process.pid or 0)
    process.join()
    output = log.read_bytes().decode(errors="backslashreplace") if log.exists() else ""
    log.unlink(missing_ok=True)
    worst.add(seconds, cpu_s, peak)
    return Ran(process.exitcode or 0, output, seconds, cpu_s, peak, stopped)


class Worst:
    """The highest figures of all programs since the last reset."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all programs."""
        self.seconds = self.cpu_s = self.peak_mb = 0.0

    def add(self, seconds: float, cpu_s: float, peak_mb: float) -> None:
        """Take the figures of a program into account."""
        self.seconds = max(self.seconds, seconds)
        self.cpu_s = max(self.cpu_s, cpu_s)
        self.peak_mb = max(self.peak_mb, peak_mb)


worst = Worst()


def _program(  # noqa: PLR0913, PLR0917
    module: str,
    words: tuple[str, ...],
    cwd: Path,
    env: dict[str, str],
    log: Path,
    limits: tuple[tuple[int, int], ...],
    stdout: str,
) -> None:
    import resource  # noqa: PLC0415  only in the child

    os.setsid()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    _spoil(stdout)
    os.chdir(cwd)
    for name, value in env.items():
        if value == UNSET:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    for which, value in limits:
        resource.setrlimit(which, (value, value))
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _spoil(stdout: str) -> None:
    """Replace the standard output by one that cannot be written to."""
    if stdout == "full":
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
    elif stdout == "closed":
        os.close(1)
    elif stdout:
        reader, writer = os.pipe()
        os.close(reader)
        os.dup2(writer, 1)


UNSET = "unset"


def _used(pid: int, cpu_s: float) -> tuple[float, float]:
    """Return the megabytes of a process and its descendants, and their processor time so far."""
    total, spent = 0, 0.0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in [process, *process.children(recursive=True)]:
            with suppress(psutil.Error):
                total += each.memory_info().rss
                spent += sum(each.cpu_times()[:2])
    return total / 1e6, max(cpu_s, spent)


def _kill_tree(pid: int) -> None:
    with suppress(psutil.Error):
        for each in [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]:
            with suppress(psutil.Error):
                each.send_signal(signal.SIGKILL)


def ending(ran: Ran) -> Iterator[Finding]:
    """Yield what is wrong with how a program ended, whatever it was to do."""
    if ran.stopped:
        yield broken(f"it took {ran.stopped}")
        return
    if ran.status not in KNOWN_STATUS:
        yield broken(f"it ended with {ran.status}: {ran.output[-300:]}")
    if "Traceback (most recent call last)" in ran.output:
        lines = ran.output.strip().splitlines()
        frames = [line.split("/")[-1] for line in lines if line.startswith('  File "')]
        yield rough(f"a traceback: {lines[-1][:300]}, from {' < '.join(frames[:-4:-1])}")
    elif ran.status in (1, 2) and "\n  " not in ran.output:
        yield rough(f"no remedy: {ran.output[-300:]}")
    if len(ran.output) > MAX_MESSAGE:
        yield rough(f"{len(ran.output):,} characters of output")
    acting = {char for char in ran.output if unicodedata.category(char)[0] == "C"} - set("\n\r")
    if acting:
        yield broken(f"characters that act in a terminal: {sorted(acting)[:5]!r}")
