"""Pass a step's events on to Prefect while it runs."""

from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from tasks.lib.core.events import Advanced, Logged, read_events


class EventTail:
    """Passes new events of a step on to the flow run: log lines, and progress as an artifact."""

    def __init__(self, stage: str, path: Path) -> None:
        self._stage, self._path, self._offset = stage, path, 0
        self._artifact: Any = None
        self._logger = get_run_logger()

    def poll(self) -> None:
        """Pass on the events since the last call."""
        events, self._offset = read_events(self._path, self._offset)
        for event in events:
            if isinstance(event, Logged):
                self._logger.log(event.level, "%s", event.text)
        progress = [event for event in events if isinstance(event, Advanced)]
        if progress:
            self._show(progress[-1])

    def _show(self, progress: Advanced) -> None:
        percent = 100.0 * progress.done / max(progress.total, 1)
        if self._artifact is None:
            description = f"{self._stage}: {progress.total:,} {progress.unit}"
            self._artifact = create_progress_artifact(percent, description=description)
        else:
            update_progress_artifact(self._artifact, percent)
