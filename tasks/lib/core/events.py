"""Report a step's start, log lines, progress and end to the process that started it.

DVC turns every failure into exit status 255, so a step also writes events to the file named by
SELECTLLM_EVENTS, one JSON object per line. If that variable is not set, the step only logs.
"""

import logging
import os
import time
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from tasks.lib.core.format_text import visible
from tasks.lib.core.hiding import hide

EVENTS_VARIABLE = "SELECTLLM_EVENTS"
RUN_VARIABLE = "SELECTLLM_RUN_ID"
LOG_EVERY_S = 5.0  # progress lines in a log
REPORT_EVERY_S = 0.5  # progress events, which only move a bar

log = logging.getLogger("selectllm")


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    step: str


class Started(_Event):
    """The step started."""

    event: Literal["started"] = "started"


class Logged(_Event):
    """The step logged a line; `level` is a level of the logging module."""

    event: Literal["log"] = "log"
    level: int
    text: str


class Advanced(_Event):
    """The step has finished `done` of its `total` units."""

    event: Literal["progress"] = "progress"
    done: int
    total: int
    unit: str


class Ended(_Event):
    """The step ended; `reason` is the text of its error, or empty for exit code 0."""

    event: Literal["ended"] = "ended"
    exit_code: int
    reason: str


Event = Annotated[Started | Logged | Advanced | Ended, Field(discriminator="event")]
_EVENT: TypeAdapter[Event] = TypeAdapter(Event)


class NewEvents(NamedTuple):
    """The events just read, and the offset at which to continue."""

    events: list[Event]
    offset: int


def read_events(path: Path, offset: int = 0) -> NewEvents:
    """Read complete lines after `offset`; return them and the new offset."""
    if not path.exists():
        return NewEvents([], offset)
    with path.open("rb") as file:
        file.seek(offset)
        unread = file.read()
    complete = unread[: unread.rfind(b"\n") + 1]
    events = [_EVENT.validate_json(line) for line in complete.splitlines()]
    return NewEvents(events, offset + len(complete))


class Events:
    """Writes the events of one run of one step."""

    def __init__(self, step: str) -> None:
        path = os.environ.get(EVENTS_VARIABLE)
        self._path = Path(path) if path else None
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        self._run, self._step = os.environ.get(RUN_VARIABLE, ""), step

    def started(self) -> None:
        """Report that the step started."""
        self._write(Started(run=self._run, step=self._step))

    def logged(self, level: int, text: str) -> None:
        """Report a log line, with secrets hidden."""
        self._write(Logged(run=self._run, step=self._step, level=level, text=hide(text)))

    def advanced(self, done: int, total: int, unit: str) -> None:
        """Report progress."""
        self._write(Advanced(run=self._run, step=self._step, done=done, total=total, unit=unit))

    def ended(self, exit_code: int, reason: str) -> None:
        """Report how the step ended."""
        self._write(Ended(run=self._run, step=self._step, exit_code=exit_code, reason=reason))

    def _write(self, event: _Event) -> None:
        """Append one event as a short line in a single write, so that no reader sees half of it."""
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(event.model_dump_json() + "\n")


class VisibleFormatter(logging.Formatter):
    """Formats a log record as text that cannot act in a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a log record, with its traceback if it has one."""
        return visible(super().format(record))


class EventLog(logging.Handler):
    """Forwards a step's log lines as events, so that readers can distinguish them from DVC's."""

    def __init__(self, events: Events) -> None:
        super().__init__()
        self._events = events

    def emit(self, record: logging.LogRecord) -> None:
        """Report a log record as an event."""
        self._events.logged(record.levelno, visible(record.getMessage()))


class Progress:
    """Counts finished units of a known total, and reports the rate and the time left."""

    def __init__(self, events: Events, step: str, total: int, unit: str) -> None:
        self._events, self._step, self._total, self._unit = events, step, total, unit
        self._reported = self._logged = time.monotonic()
        self._first: tuple[float, int] | None = None  # when the first units were done, and how many
        self.done = 0

    def advance(self, n: int = 1) -> None:
        """Count `n` more units as done."""
        self.done += n
        now = time.monotonic()
        self._first = self._first or (now, self.done)
        if now - self._reported < REPORT_EVERY_S and self.done < self._total:
            return
        self._reported = now
        self._events.advanced(self.done, self._total, self._unit)
        if now - self._logged >= LOG_EVERY_S:
            self._logged = now
            log.info("%s", self._line(now))

    def _line(self, now: float) -> str:
        """Describe the progress; the time before the first unit does not affect the pace."""
        done = f"{self._step}: {self.done:,} of {self._total:,} {self._unit}"
        start, n_before = self._first or (now, self.done)
        if self.done == n_before or now <= start:
            return done
        rate = (self.done - n_before) / (now - start)
        left_s = (self._total - self.done) / rate
        left = f"{left_s:.0f} s" if left_s < 120 else f"{left_s / 60:.0f} min"
        n_decimals = 0 if rate >= 10 else 1
        pace = f"{rate:,.{n_decimals}f} a second" if rate >= 1 else f"{60 * rate:.1f} a minute"
        return f"{done}, {pace}, about {left} left"
