"""What a person sees in the terminal."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.cli.doctor import Finding
from flows.dvc.graph import Graph
from flows.dvc.overrides import Change
from flows.dvc.plan import Step
from flows.tracking.comparison import Outcome
from flows.tracking.metrics import LEADING, leading

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def changed(change: Change) -> None:
    """Say what an override did to params.yaml."""
    err.print(f"params.yaml: {change.key} = {change.new!r} (was {change.old!r})", markup=False)


def failed(error: Exception) -> None:
    """Say why a run stopped."""
    err.print("[bold red]Stopped[/]")
    err.print(str(error), markup=False, soft_wrap=True)


def as_json(document: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def summary(graph: Graph, root: Path) -> None:
    """The funnel of the run, its cost, where its results lie, what to beware of, and the report."""
    validated = load(graph, root, "funnel")
    funnel = validated.get("funnel", {})
    usage = load(graph, root, "usage")
    table = Table(box=None, show_header=False, padding=(0, 2))
    table.add_column(justify="right", style="bold")
    table.add_column()
    for name, text in FUNNEL.items():
        if funnel.get(name):
            table.add_row(f"{funnel[name]:,}", text)
    out.print()
    out.print(table)
    out.print(f"\n{bill(usage)}")
    for output in graph.outs("export"):
        out.print(f"selection: {root / output.path}/", soft_wrap=True, markup=False)
    out.print(f"checks: {root / '.selectllm/data_docs/index.html'}", soft_wrap=True, markup=False)
    out.print("compare runs: mlflow ui")
    for finding in validated.get("expectations", []):
        if not finding["success"]:
            words = f"{finding['expectation']}: {finding['detail']}"
            out.print(f"[yellow]beware:[/] {escape(words)}", soft_wrap=True)
    for line in against_random(load(graph, root, "metrics")):
        out.print(line, soft_wrap=True)
    words = capped(graph, root)
    if words:
        out.print(f"[bold yellow]partial:[/] {escape(words)}", soft_wrap=True)
    for output in graph.outs("report"):
        out.print(f"\nreport: {root / output.path}", soft_wrap=True, markup=False)


def results(graph: Graph, root: Path) -> list[tuple[str, Path]]:
    """Return what a user takes from a run, each with the path where it is or will be."""
    return [
        (type_, root / output.path)
        for type_ in ("selection", "export", "report")
        for output in graph.outs(type_)
    ]


def bill(usage: Mapping[str, Any]) -> str:
    """How many calls and tokens the selection took, and their price."""
    usd = usage.get("usd")
    price = "price unknown" if usd is None else f"{usd:.4f} USD" if usd else "free"
    tokens = usage.get("prompt_tokens", 0) + usage.get("completion_tokens", 0)
    return f"{usage.get('calls', 0):,} calls to {usage.get('model')}, {tokens:,} tokens, {price}"


def against_random(metrics: Mapping[str, Any]) -> Iterator[str]:
    """A line a figure: the selection beside random ones, in the space that no method chose in."""
    for name, figure in leading(metrics).items():
        if name in TOLD and figure.p_random is not None:
            better = "[green]better than random[/]"
            verdict = better if figure.beats_chance else "not better than random"
            values = f"{figure.value:.4g}, random {figure.chance:.4g}"
            yield f"{verdict}: {LEADING[name]}: {values}, p = {figure.p_random:.2g}"


def comparison(outcomes: Sequence[Outcome], place: str) -> None:
    """The variants of a comparison, a line each, why one failed, and where to look closer."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    figures = [name for name in TOLD if any(name in o.figures for o in outcomes)]
    for name in ("variant", "state", "ran", "selected", "USD", *figures):
        table.add_column(name, justify="left" if name in ("variant", "state") else "right")
    for o in outcomes:
        told = [o.figures[name].value if name in o.figures else None for name in figures]
        cells = [o.usage.get("selected"), o.usage.get("usd"), *told]
        ran = "" if o.failure else f"{o.n_ran} of {o.n_stages}" if o.n_ran else "Cached"
        table.add_row(o.name, o.state, ran, *("-" if c is None else f"{c:.4g}" for c in cells))
    out.print(table)
    for o in outcomes:
        if o.failure:
            err.print(f"[red]failed:[/] {escape(o.name)}: {escape(o.failure)}", soft_wrap=True)
    if place:
        out.print("\nside by side: run `mlflow ui`, then open")
        out.print(f"http://127.0.0.1:5000/{place}", soft_wrap=True, markup=False)


def capped(graph: Graph, root: Path) -> str:
    """That the selection is but a part, and what to do; empty when it is whole."""
    usage = load(graph, root, "usage")
    if not usage.get("partial"):
        return ""
    when = "before the last round was over" if usage["selected"] == usage["budget"] else "so far"
    return (
        f"{usage['selected']:,} of {usage['budget']:,} selected {when}: the next call could have "
        f"passed llm_select.{usage['partial']}. Raise it and run this again to go on; what was "
        "answered is not paid for again."
    )


TOLD = ("coverage_mean", "student_rouge_l")

FUNNEL = {
    "rows": "rows read",
    "excluded": "excluded, as params.yaml says",
    "faulty": "faulty, dropped with a reason",
    "repeated": "repeated, word for word",
    "duplicates": "duplicates of others",
    "unique": "unique records",
    "prompts": "prompts to the model",
    "selected": "selected",
}


def load(graph: Graph, root: Path, type_: str) -> dict[str, Any]:
    """The JSON output that dvc.yaml annotates with this type; empty when there is none."""
    for output in graph.outs(type_):
        path = root / output.path
        if path.is_file():
            document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return document
    return {}


ACTIONS = {
    "run": "[bold]would run[/]",
    "follow": "would run",
    "restore": "would be restored from DVC's cache, or made anew",
    "cached": "[dim]up to date[/]",
}
VERDICTS = {"ok": "[green]ok   [/]", "odd": "[yellow]odd  [/]", "wrong": "[red]wrong[/]"}


def plan(steps: Sequence[Step]) -> None:
    """A plan, a line a stage and a line a reason."""
    for step in steps:
        out.print(f"{step.stage:<12} {ACTIONS[step.action]}")
        for reason in step.reasons:
            out.print(f"{'':<12}   {reason}", markup=False, soft_wrap=True)


def finding(found: Finding) -> None:
    """What the doctor found, and on the next line how to mend it."""
    out.print(f"{VERDICTS[found.verdict]} {escape(found.what)}", soft_wrap=True)
    if found.mend:
        out.print(f"      {found.mend.strip()}", markup=False, soft_wrap=True)
