"""What a person sees of prices and bills."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from rich.markup import escape
from rich.table import Table

from flows.cli.console import err, out

Range = tuple[float, float]


class Work(Protocol):
    """What is asked: each the least and the most."""

    calls: tuple[int, int]
    prompt_tokens: tuple[int, int]
    completion_tokens: tuple[int, int]


def plain(value: Any) -> Any:
    """A value of named tuples as one of mappings, for JSON."""
    if hasattr(value, "_asdict"):
        return {name: plain(each) for name, each in value._asdict().items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


def estimate(estimated: Any) -> None:
    """What a selection would cost: the work, then a line a route, then the paper's way."""
    work = estimated.work
    first = estimated.rounds[0]
    rounds = f"{len(estimated.rounds)} rounds" if len(estimated.rounds) > 1 else "1 round"
    out.print(
        f"{estimated.budget:,} of {first.n_candidates:,} records, {first.n_prompts:,} prompts, "
        f"{rounds}, {estimated.votes} vote{'s' if estimated.votes > 1 else ''} a prompt"
    )
    out.print(_work(work))
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("route", "model"):
        table.add_column(name)
    for name in ("USD", "time"):
        table.add_column(name, justify="right")
    for i, cost in enumerate(estimated.costs):
        usd = "unknown" if cost.usd is None else _span(cost.usd, _usd)
        table.add_row(
            cost.route, cost.model, usd, _span(cost.seconds, _time), style="bold" if not i else ""
        )
    out.print(table)
    out.print(f"the paper's geometry: {_work(estimated.paper)}", end="")
    usd = estimated.paper_usd
    out.print(f", {_span(usd, _usd)}{' USD' if usd[1] else ''}" if usd else "")
    for cost in estimated.costs:
        if cost.problem:
            err.print(f"[yellow]{cost.route}:[/] {escape(cost.problem)}", soft_wrap=True)
    err.print("Calls that fail and are made again come on top, up to llm_select.max_usd.")


def ungrouped() -> None:
    """Say that the prompts behind an estimate are not yet the real ones."""
    err.print("The prompts are not made yet; this is for as many prompts of the same sizes.")


def ratings(quoted: Any) -> None:
    """What the ratings would cost that baseline.methods go by, on top of the selection."""
    cost = quoted.cost
    usd = "price unknown" if cost.usd is None else _span(cost.usd, _usd)
    usd += " USD" if cost.usd and cost.usd[1] else ""
    out.print(
        f"on top, ratings for baseline.methods: {_work(quoted.work)}, {usd} at {cost.route} "
        f"({cost.model}), capped at {quoted.max_usd:g} USD (baseline.max_usd)",
        soft_wrap=True,
    )
    if cost.problem:
        err.print(f"[yellow]{cost.route}:[/] {escape(cost.problem)}", soft_wrap=True)


def rows(
    found: Sequence[Mapping[str, Any]], columns: Sequence[str], total: Sequence[str] = ()
) -> None:
    """Rows as a table, with the sums of some columns below."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_footer=bool(total))
    for name in columns:
        is_number = bool(found) and isinstance(found[0][name], int | float)
        amount = _number(sum(row[name] for row in found)) if name in total else ""
        head = name.removesuffix("_tokens")
        justify: Any = "right" if is_number else "left"
        table.add_column(head, footer=amount, justify=justify, overflow="fold")
    for row in found:
        table.add_row(*(escape(_number(row[name])) for name in columns))
    out.print(table)


def pruned(n: int, before: str, *, done: bool) -> None:
    """How many answers were forgotten, or would be."""
    if done:
        out.print(
            f"{n:,} answers from before {before} forgotten; what they cost stays on the books"
        )
    else:
        out.print(f"{n:,} answers are from before {before}; add --yes to forget them")


def retried(n: int) -> None:
    """Print how many failed calls are marked for retry."""
    out.print(f"{n:,} failed calls marked for retry; `dvc repro -f llm_select` asks again")


def _work(work: Work) -> str:
    parts = (
        f"{_span(work.calls, _count)} calls",
        f"{_span(work.prompt_tokens, _count)} tokens in",
        f"{_span(work.completion_tokens, _count)} out",
    )
    return ", ".join(parts)


def _span(bounds: Range, show: Any) -> str:
    low, high = show(bounds[0]), show(bounds[1])
    return low if low == high else f"{low} to {high}"


def _count(n: float) -> str:
    return f"{n:,.0f}"


def _usd(usd: float) -> str:
    return "free" if not usd else f"{usd:.2f}" if usd >= 1 else f"{usd:.4f}"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
