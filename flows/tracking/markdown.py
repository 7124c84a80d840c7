"""What Prefect's and MLflow's pages show as text: the funnel of a run, variants side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flows.cli import console as show
from flows.dvc.graph import Graph
from flows.dvc.overrides import Change
from flows.tracking.comparison import FAILED, Outcome, best, measured, overlap
from flows.tracking.metrics import LEADING, SPACE, SURE, leading


def run_summary(graph: Graph, root: Path) -> str:
    """The funnel of a run, what it cost, and whether it beats chance; empty without a funnel."""
    funnel = show.load(graph, root, "funnel").get("funnel")
    if not funnel:
        return ""
    counted = [(f"{funnel[name]:,}", text) for name, text in show.FUNNEL.items() if funnel[name]]
    figures = leading(show.load(graph, root, "metrics"))
    parts = [
        table(["count", "records"], counted),
        show.bill(show.load(graph, root, "usage")),
        f"**Beside random selections** (space: {SPACE})" if figures else "",
        table(
            ["figure", "this one", "random", "p"],
            [
                (LEADING[name], _number(f.value), _number(f.chance), _number(f.p_random))
                for name, f in figures.items()
            ],
        )
        if figures
        else "",
    ]
    return "\n\n".join(part for part in parts if part)


def parameters(graph: Graph, root: Path, changes: Sequence[Change]) -> str:
    """Return what a run's parameters change for it alone, and where in `root` its results are."""
    changed = [(change.key, change.new, change.old) for change in changes]
    parts = [
        table(["for this run alone", "value", "in params.yaml"], changed)
        if changed
        else "The parameters have the values of params.yaml.",
        "This run works in a copy of the workspace; params.yaml stays as it is.",
        table(
            ["result", "path"], [(what, f"`{path}`") for what, path in show.results(graph, root)]
        ),
    ]
    return "\n\n".join(parts)


def comparison(outcomes: Sequence[Outcome]) -> str:
    """The variants as a table, the best of each figure in bold, and the overlap as another."""
    told = measured(outcomes)
    leaders = {name: best(outcomes, name) for name in told}
    lines = [
        (o.name, o.variant.words, o.state, *_bill(o), *(_cell(o, n, leaders[n]) for n in told))
        for o in outcomes
    ]
    heads = ["variant", "sets", "state", "selected", "calls", "USD"]
    parts = [
        table([*heads, *(_head(name, outcomes) for name in told)], lines),
        f"Figures in the space of {SPACE}; **bold**: the best; ✓: better than chance (p ≤ {SURE}).",
    ]
    whole = [o for o in outcomes if o.ids]
    if len(whole) > 1:
        shared = [
            (o.name, *(f"{cell:.2f}" for cell in cells))
            for o, cells in zip(whole, overlap(whole), strict=True)
        ]
        parts += ["**Overlap** (Jaccard)", table(["", *(o.name for o in whole)], shared)]
    for outcome in outcomes:
        if outcome.state == FAILED:
            parts.append(f"**{outcome.name} failed:** {outcome.failure}")
    return "\n\n".join(parts)


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(_escape(cell) for cell in line)} |" for line in lines)


def _head(name: str, outcomes: Sequence[Outcome]) -> str:
    figure = next(o.figures[name] for o in outcomes if name in o.figures)
    arrow = {True: " ↓", False: " ↑", None: ""}[figure.is_lower_better]
    return f"{name}{arrow}"


def _bill(outcome: Outcome) -> tuple[str, str, str]:
    usage: Mapping[str, Any] = outcome.usage
    return tuple(_number(usage.get(key)) for key in ("selected", "calls", "usd"))  # type: ignore[return-value]


def _cell(outcome: Outcome, name: str, leader: float | None) -> str:
    figure = outcome.figures.get(name)
    if figure is None:
        return "-"
    text = _number(figure.value) + (" ✓" if figure.beats_chance else "")
    return f"**{text}**" if leader == figure.value else text


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _escape(cell: Any) -> str:
    return str(cell).replace("|", "\\|").replace("\n", " ")
