"""What a step tells while it runs, passed on to Prefect."""

import json
from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from flows.dvc.graph import Stage


class Hearing:
    """Brings a step's events into the flow run: its log lines, and its progress as an artifact."""

    def __init__(self, stage: Stage, events: Path) -> None:
        self._stage, self._events, self._offset = stage, events, 0
        self._artifact: Any = None
        self._logger = get_run_logger()

    def listen(self) -> None:
        """Take in what the step has told since the last time."""
        told, self._offset = read_events(self._events, self._offset)
        for event in told:
            if event["event"] == "log":
                self._logger.log(event["level"], "%s", event["text"])
        progress = [event for event in told if event["event"] == "progress"]
        if progress:
            self._show(progress[-1])

    def _show(self, progress: dict[str, Any]) -> None:
        percent = 100.0 * progress["done"] / max(progress["total"], 1)
        if self._artifact is None:
            what = f"{self._stage.name}: {progress['total']:,} {progress['unit']}"
            self._artifact = create_progress_artifact(percent, description=what)
        else:
            update_progress_artifact(self._artifact, percent)


def read_events(events: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """The whole lines of an events file from a byte on, and the byte behind them."""
    if not events.exists():
        return [], offset
    with events.open("rb") as file:
        file.seek(offset)
        unread = file.read()
    whole = unread[: unread.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()], offset + len(whole)
