"""Show the results of a run on its page in Prefect, and announce them to Prefect's automations."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.events import emit_event

from flows.cli import console
from flows.cli.usage_line import bill_line
from flows.stage_task import Done
from flows.tracking import markdown
from tasks.lib.core.dvc_yaml import Graph
from tasks.lib.core.errors import StageFailed
from tasks.lib.documents.savings import Savings
from tasks.lib.documents.usage import Usage
from tasks.lib.documents.validation import ValidationResult


class Announcement(StrEnum):
    """The name of an event, as Prefect's automations refer to it."""

    SELECTION_READY = "selection.ready"  # only if a stage ran, or an output was restored
    CAP_REACHED = "cap.reached"
    CHECK_FAILED = "check.failed"


def publish(text: str, key: str, description: str) -> None:
    """Show text and its description on the Prefect run's page, unless the text is empty."""
    if text:
        create_markdown_artifact(text, key=key, description=description)


def publish_results(graph: Graph, workspace: Path) -> None:
    """Show the funnel and the bill as tables, the savings as a text, and the report as a link."""
    publish(markdown.run_summary(graph, workspace), "summary", "What the run read and selected")
    validation = console.load(graph, workspace, "funnel", ValidationResult)
    if validation:
        rows = [{"records": n, "": label} for n, label in console.funnel_rows(validation)]
        create_table_artifact(rows, key="funnel", description="From the pool to the selection")
    usage = console.load(graph, workspace, "usage", Usage)
    if usage:
        create_table_artifact([_bill(usage)], key="bill", description=bill_line(usage))
    saved = console.load(graph, workspace, "savings", Savings)
    if saved:
        publish(saved.sentence, "savings", "How many random records do as well")
    for out in graph.outs("report"):
        link = (workspace / out.path).as_uri()
        create_link_artifact(link, out.path, "report", "On the machine of the run")


def announce_results(
    graph: Graph, workspace: Path, done: Mapping[str, Done], capped: str = ""
) -> None:
    """Announce a new selection, and whether the spending cap cut it short."""
    saved = console.load(graph, workspace, "savings", Savings)
    results = {type_: str(path) for type_, path in console.results(graph, workspace)}
    payload = {"savings": saved.sentence if saved else None, "results": results}
    if any(end.state.message != "unchanged" for end in done.values()):
        _announce(Announcement.SELECTION_READY, workspace, payload)
    if capped:
        _announce(Announcement.CAP_REACHED, workspace, payload | {"reason": capped})


def announce_failure(workspace: Path, done: Mapping[str, Done]) -> None:
    """Announce the first failed stage, if it failed a check."""
    failed = {name: end.state for name, end in done.items() if end.state.is_failed()}
    for name, state in list(failed.items())[:1]:
        error = state.result(raise_on_failure=False)
        if isinstance(error, StageFailed) and error.is_check:
            parts = {"what": error.what, "where": error.where, "fix": error.fix}
            _announce(Announcement.CHECK_FAILED, workspace, {"stage": name, **parts})


def _announce(event: Announcement, workspace: Path, payload: dict[str, Any]) -> None:
    resource = {
        "prefect.resource.id": f"selectllm.workspace.{workspace.name}",
        "prefect.resource.name": str(workspace),
    }
    emit_event(event.value, resource, payload=payload)


def _bill(usage: Usage) -> dict[str, Any]:
    return {
        "model": usage.model,
        "calls": usage.calls,
        "prompt tokens": usage.prompt_tokens,
        "of these cached": usage.cached_tokens,
        "completion tokens": usage.completion_tokens,
        "USD": usage.usd,
        "USD without an answer": usage.usd_without_answer,
        "USD that calls without a reply may have cost": usage.usd_without_reply,
    }
