"""The time left of a step is predicted from the units that it has finished."""

from types import SimpleNamespace

import pytest

from tasks.lib.core import events
from tasks.lib.core.events import LOG_EVERY_S, Events, Progress


@pytest.fixture
def clock(monkeypatch):
    """Replace the clock of the module by one that the test sets."""
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(events, "time", clock)
    return clock


def test_the_time_before_the_first_unit_does_not_count(clock, caplog):
    caplog.set_level("INFO", logger="selectllm")
    progress = Progress(Events("embed"), "embed", 100, "texts")
    clock.now = 300.0  # the model was loaded, and the first batch took as long as all others
    progress.advance(10)
    for _ in range(4):
        clock.now += LOG_EVERY_S
        progress.advance(10)
    assert caplog.messages == [
        "embed: 10 of 100 texts",
        "embed: 20 of 100 texts, 2.0 a second, about 40 s left",
        "embed: 30 of 100 texts, 2.0 a second, about 35 s left",
        "embed: 40 of 100 texts, 2.0 a second, about 30 s left",
        "embed: 50 of 100 texts, 2.0 a second, about 25 s left",
    ]


def test_units_that_end_at_the_same_time_predict_nothing(clock, caplog):
    caplog.set_level("INFO", logger="selectllm")
    progress = Progress(Events("embed"), "embed", 3, "texts")
    clock.now = LOG_EVERY_S
    progress.advance()
    progress.advance()
    progress.advance()
    assert caplog.messages == ["embed: 1 of 3 texts"]
