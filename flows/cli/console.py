"""Print the output of the commands for people or, with --json, for programs."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from flows.cli.usage_line import bill_line
from flows.dvc.overrides import Change
from flows.dvc.plan import PlannedStage
from flows.tracking.leading_metrics import LeadingMetric, leading
from flows.tracking.store import how_to_open
from tasks.lib.core.dvc_yaml import Graph
from tasks.lib.core.errors import CurationError
from tasks.lib.core.format_text import visible, visible_json
from tasks.lib.core.stage import STATE_DIR
from tasks.lib.documents.document import Document
from tasks.lib.documents.labels import FUNNEL, metric_name
from tasks.lib.documents.metrics import Metrics
from tasks.lib.documents.paper_table import HEADLINES
from tasks.lib.documents.savings import Savings
from tasks.lib.documents.usage import Usage
from tasks.lib.documents.validation import ValidationResult


class SafeConsole(Console):
    """A console that shows texts literally: markup and control characters in them have no effect.

    Markup must be requested with ``markup=True``.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return the text to show for a string, before its width is measured."""
        return super().render_str(visible(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield what is shown; this also makes safe any text that is not a plain string."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))


out = SafeConsole()
err = SafeConsole(stderr=True)

D = TypeVar("D", bound=Document)


def use_json(*, is_set: bool) -> None:
    """Reserve stdout for one JSON document, and print everything else to stderr."""
    out.stderr = is_set


def changed(change: Change) -> None:
    """Print a change to params.yaml."""
    err.print(f"params.yaml: {change.key} = {change.new!r} (was {change.old!r})")


def failed(error: CurationError) -> None:
    """Print why a command stopped; with --json, also as a JSON document."""
    err.print("Stopped", style="bold red")
    err.print(str(error), soft_wrap=True)
    if out.stderr:
        parts = {"what": error.what, "where": error.where, "fix": error.fix}
        as_json({"error": parts, "exit_code": error.exit_code})


def interrupted() -> None:
    """Print how to continue after Ctrl-C."""
    text = "Interrupted. Run it again to continue; no finished work and no paid answer is lost."
    err.print(text, soft_wrap=True)


def warning(what: str, fix: str) -> None:
    """Print what may go wrong, with its fix on the next line."""
    err.print(f"[yellow]warning:[/] {escape(what)}", markup=True, soft_wrap=True)
    err.print(f"  {fix}", soft_wrap=True)


def note(what: str) -> None:
    """Print something that a command did along the way."""
    err.print(what, soft_wrap=True)


def as_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(visible_json(json.dumps(document, indent=2, ensure_ascii=False)) + "\n")


def summary(graph: Graph, workspace: Path, address: str) -> None:
    """Print the run's funnel, cost, warnings and metrics, and where its results are.

    Args:
        graph: The graph.
        workspace: The workspace of the run.
        address: MLflow's page of all runs, relative to its server; empty if there is none.
    """
    validation = load(graph, workspace, "funnel", ValidationResult)
    usage = load(graph, workspace, "usage", Usage)
    metrics = leading(load(graph, workspace, "metrics", Metrics))
    saved = load(graph, workspace, "savings", Savings)
    table = Table(box=None, show_header=False, padding=(0, 2))
    table.add_column(justify="right", style="bold")
    table.add_column()
    for count, label in funnel_rows(validation):
        table.add_row(count, label)
    out.print()
    out.print(table)
    if usage:
        out.print(f"\n{bill_line(usage)}")
    for output in graph.outs("export"):
        out.print(f"selection: {workspace / output.path}/", soft_wrap=True)
    docs = workspace / STATE_DIR / "data_docs" / "index.html"
    out.print(f"checks: {docs}", soft_wrap=True)
    if address:
        out.print(f"compare runs: {how_to_open(address)}", soft_wrap=True)
    for finding in validation.warnings if validation else ():
        text = escape(f"{finding.expectation}: {finding.detail}")
        out.print(f"[yellow]warning:[/] {text}", markup=True, soft_wrap=True)
    if saved:
        out.print(saved.sentence, style="bold", soft_wrap=True)
    for line in against_random(metrics):
        out.print(line, markup=True, soft_wrap=True)
    reason = capped(graph, workspace)
    if reason:
        out.print(f"[bold yellow]partial:[/] {escape(reason)}", markup=True, soft_wrap=True)
    for output in graph.outs("report"):
        out.print(f"\nreport: {workspace / output.path}", soft_wrap=True)
    if out.stderr:
        as_json(
            {
                "funnel": validation and validation.funnel.model_dump(),
                "warnings": [f.model_dump() for f in validation.warnings] if validation else [],
                "usage": usage and usage.model_dump(mode="json"),
                "metrics": {name: metric._asdict() for name, metric in metrics.items()},
                "savings": saved and saved.model_dump() | {"sentence": saved.sentence},
                "partial": reason or None,
                "results": {type_: str(path) for type_, path in results(graph, workspace)},
            }
        )


def funnel_rows(validation: ValidationResult | None) -> Iterator[tuple[str, str]]:
    """Yield the counts of the funnel that are not zero, each with its label."""
    if validation:
        for name, label in FUNNEL.items():
            count = getattr(validation.funnel, name)
            if count:
                yield f"{count:,}", label


def results(graph: Graph, workspace: Path) -> list[tuple[str, Path]]:
    """Return the outputs of a run that users want, each with its path."""
    return [
        (type_, workspace / output.path)
        for type_ in ("selection", "export", "report")
        for output in graph.outs(type_)
    ]


def against_random(metrics: dict[str, LeadingMetric]) -> Iterator[str]:
    """Yield a line for each shown metric, comparing the selection with random selections."""
    for name, metric in metrics.items():
        if name in HEADLINES and metric.p_random is not None and metric.random is not None:
            better = "[green]better than random[/]"
            conclusion = better if metric.beats_chance else "not better than random"
            values = f"{metric.value:.4g}, random {metric.random:.4g}"
            yield f"{conclusion}: {metric_name(name)}: {values}, p = {metric.p_random:.2g}"


def capped(graph: Graph, workspace: Path) -> str:
    """Say why the selection is partial and what to do, or nothing if it is complete."""
    usage = load(graph, workspace, "usage", Usage)
    if usage is None or not usage.partial:
        return ""
    return (
        f"{usage.n_prompts:,} of {usage.n_prompts_planned:,} prompts were judged, and the "
        "selection is based on them alone: the next call could have exceeded "
        f"llm_select.{usage.partial}. Raise it and run this again to continue; no answer is paid "
        "for twice."
    )


def load(graph: Graph, workspace: Path, type_: str, model: type[D]) -> D | None:
    """Read the JSON output that dvc.yaml annotates with this type, or return None."""
    for output in graph.outs(type_):
        path = workspace / output.path
        if path.is_file():
            return model.read(path)
    return None


ACTIONS = {
    "run": "[bold]would run[/]",
    "follow": "would run",
    "restore": "would be restored from DVC's cache or rebuilt",
    "cached": "[dim]up to date[/]",
}


def plan(stages: Sequence[PlannedStage]) -> None:
    """Print a plan, with a line for each stage and each reason."""
    for planned in stages:
        out.print(f"{escape(planned.stage):<12} {ACTIONS[planned.action]}", markup=True)
        for reason in planned.reasons:
            out.print(f"{'':<12}   {reason}", soft_wrap=True)
