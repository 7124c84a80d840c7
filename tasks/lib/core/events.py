"""What a step tells whoever started it: that it began, how far it is, and how it ended.

DVC turns every failure into exit status 255, so a step also writes its story to the file that
SELECTLLM_EVENTS names, one JSON object a line. Without that variable it is only logged.
"""

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

EVENTS_VARIABLE = "SELECTLLM_EVENTS"
RUN_VARIABLE = "SELECTLLM_RUN_ID"
LOG_EVERY_S = 5.0  # progress lines in a log
TELL_EVERY_S = 0.5  # progress events, which only move a bar

log = logging.getLogger("selectllm")


class Events:
    """The events of one run of one step."""

    def __init__(self, step: str) -> None:
        path = os.environ.get(EVENTS_VARIABLE)
        self._path = Path(path) if path else None
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        self._common = {"run": os.environ.get(RUN_VARIABLE, ""), "step": step}

    def write(self, event: str, **facts: Any) -> None:
        """Append one event; a plain append of one short line, so that a reader never sees half."""
        if self._path is None:
            return
        line = json.dumps({**self._common, "event": event, **facts}, ensure_ascii=False)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


class EventLog(logging.Handler):
    """Repeats a step's log lines as events, which tells them from DVC's own."""

    def __init__(self, events: Events) -> None:
        super().__init__()
        self._events = events

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line as an event."""
        self._events.write("log", level=record.levelno, text=record.getMessage())


class Progress:
    """Counts done units of a known total, and tells the rate and the time left now and then."""

    def __init__(self, events: Events, step: str, total: int, unit: str) -> None:
        self._events, self._step, self._total, self._unit = events, step, total, unit
        self._start = self._told = self._logged = time.monotonic()
        self.done = 0

    def advance(self, n: int = 1) -> None:
        """Count `n` more units as done."""
        self.done += n
        now = time.monotonic()
        if now - self._told < TELL_EVERY_S and self.done < self._total:
            return
        self._told = now
        self._events.write("progress", done=self.done, total=self._total, unit=self._unit)
        if now - self._logged >= LOG_EVERY_S:
            self._logged = now
            log.info("%s", self._line(now - self._start))

    def _line(self, elapsed_s: float) -> str:
        rate = self.done / elapsed_s
        left_s = (self._total - self.done) / rate if rate else float("inf")
        left = f"{left_s:.0f} s" if left_s < 120 else f"{left_s / 60:.0f} min"
        pace = (
            f"{rate:,.{0 if rate >= 10 else 1}f} a second"
            if rate >= 1
            else f"{60 * rate:.1f} a minute"
        )
        return (
            f"{self._step}: {self.done:,} of {self._total:,} {self._unit}, {pace}, "
            f"about {left} left"
        )
