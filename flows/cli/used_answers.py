"""Read the answers behind a run's selection, for MLflow."""

from pathlib import Path

from prefect import get_run_logger

from flows.cli import console
from flows.tracking.traces import MAX_TRACES
from tasks.lib.core.dvc_yaml import Graph
from tasks.lib.core.errors import CurationError
from tasks.lib.documents.traced_answer import TracedAnswer
from tasks.lib.documents.usage import Usage


def used_answers(graph: Graph, workspace: Path) -> list[TracedAnswer]:
    """Return a sample of the answers behind the selection; empty if no model was called.

    A failure to read them, as after `dvc pull` without a journal, is logged.
    """
    usage = console.load(graph, workspace, "usage", Usage)
    if usage is None or not usage.calls:
        return []
    from tasks.audit.answers import used_answers as read  # noqa: PLC0415

    try:
        return read(workspace, MAX_TRACES)
    except CurationError as error:
        get_run_logger().info("MLflow gets no traces for this run: %s", error)
        return []
