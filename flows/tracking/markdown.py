"""Markdown for Prefect and MLflow: the summary of a run, and the comparison of variants."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.cli import console
from flows.cli.usage_line import bill_line
from flows.dvc.overrides import Change
from flows.identity import Identity
from flows.tracking.comparison import Outcome, VariantState, best, measured, overlap
from flows.tracking.leading_metrics import leading
from flows.tracking.store import how_to_open
from tasks.lib.core.dvc_yaml import Graph
from tasks.lib.core.format_text import visible
from tasks.lib.documents.labels import metric_name
from tasks.lib.documents.metrics import MAX_P, Metrics
from tasks.lib.documents.savings import Savings
from tasks.lib.documents.usage import Usage
from tasks.lib.documents.validation import ValidationResult

_MARKUP = re.compile(r"([\\`*\[\]<>&|~#!])")


def run_summary(graph: Graph, workspace: Path) -> str:
    """Return the funnel of a run, its cost and its metrics; empty if there is no funnel."""
    validation = console.load(graph, workspace, "funnel", ValidationResult)
    usage = console.load(graph, workspace, "usage", Usage)
    if validation is None:
        return ""
    metrics = leading(console.load(graph, workspace, "metrics", Metrics))
    parts = [table(["count", "records"], list(console.funnel_rows(validation)))]
    if usage:
        parts.append(plain(bill_line(usage)))
    saved = console.load(graph, workspace, "savings", Savings)
    if saved:
        parts.append(f"**{saved.sentence}**")
    if metrics:
        rows = [
            (metric_name(name), _number(m.value), _number(m.random), _number(m.p_random))
            for name, m in metrics.items()
        ]
        parts.append("**Compared with random selections**")
        parts.append(table(["metric", "this selection", "random", "p"], rows))
    return "\n\n".join(parts)


def identity(identity: Identity, run_page: str) -> str:
    """Say where a run is recorded, and which commit and dvc.lock it belongs to.

    Args:
        identity: The identity of the run.
        run_page: Its page, relative to MLflow's server; empty if MLflow could not record it.
    """
    changed = ", with uncommitted changes" if identity.is_dirty else ""
    rows = [
        ("run", identity.run_id),
        ("MLflow", how_to_open(run_page) if run_page else "a later run will record it"),
        ("Git commit", f"{identity.commit}{changed}"),
        ("MD5 of dvc.lock", identity.lock),
    ]
    return table(["", ""], rows)


def parameters(graph: Graph, workspace: Path, changes: Sequence[Change]) -> str:
    """Describe a run's parameter changes, and where its results are."""
    changed = "The parameters have the values in params.yaml."
    if changes:
        rows = [tuple(map(plain, (change.key, change.new, change.old))) for change in changes]
        changed = table(["only for this run", "value", "in params.yaml"], rows)
    copy = "This run works in a copy of the workspace; params.yaml does not change."
    paths = [(what, plain(path)) for what, path in console.results(graph, workspace)]
    return "\n\n".join([changed, copy, table(["result", "path"], paths)])


def comparison(outcomes: Sequence[Outcome]) -> str:
    """Return the variants as a table, with the best metrics in bold, and the overlap."""
    names = measured(outcomes)
    leaders = {name: best(outcomes, name) for name in names}
    lines = [
        (
            plain(o.name),
            plain(o.variant.sets),
            o.state,
            *_usage(o),
            *(_cell(o, n, leaders[n]) for n in names),
        )
        for o in outcomes
    ]
    heads = ["variant", "sets", "state", "selected", "calls", "USD"]
    parts = [
        table([*heads, *(_head(name, outcomes) for name in names)], lines),
        f"**bold**: best; ✓: better than random (p ≤ {MAX_P}).",
    ]
    selected = [o for o in outcomes if o.ids]
    if len(selected) > 1:
        shared = [
            (plain(o.name), *(f"{cell:.2f}" for cell in cells))
            for o, cells in zip(selected, overlap(selected), strict=True)
        ]
        parts += ["**Overlap** (Jaccard)", table(["", *(plain(o.name) for o in selected)], shared)]
    for outcome in outcomes:
        if outcome.state is VariantState.FAILED:
            parts.append(f"**{plain(outcome.name)} failed:** {plain(outcome.failure)}")
    return "\n\n".join(parts)


def plain(text: Any) -> str:
    """Return Markdown that shows a text literally, with no active link, image, HTML or control."""
    return _MARKUP.sub(r"\\\1", visible(str(text)))


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(_escape(cell) for cell in line)} |" for line in lines)


def _head(name: str, outcomes: Sequence[Outcome]) -> str:
    metric = next(o.metrics[name] for o in outcomes if name in o.metrics)
    arrow = {True: " ↓", False: " ↑", None: ""}[metric.is_lower_better]
    return f"{name}{arrow}"


def _usage(outcome: Outcome) -> list[str]:
    used = (outcome.used(name) for name in ("calls", "usd"))
    return [_number(number) for number in (outcome.n_selected, *used)]


def _cell(outcome: Outcome, name: str, leader: float | None) -> str:
    metric = outcome.metrics.get(name)
    if metric is None:
        return "-"
    text = _number(metric.value) + (" ✓" if metric.beats_chance else "")
    return f"**{text}**" if leader == metric.value else text


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _escape(cell: Any) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", str(cell)).replace("\n", " ")
