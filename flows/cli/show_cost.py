"""Print estimates and the contents of the journal."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from flows.cli.console import err, out
from tasks.lib.core.format_text import usd_text

if TYPE_CHECKING:
    from tasks.estimate.tokens_needed import Workload

Range = tuple[float, float]


def plain(value: Any) -> Any:
    """Convert nested named tuples to mappings, for JSON."""
    if hasattr(value, "_asdict"):
        return {name: plain(field) for name, field in value._asdict().items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def estimate(estimated: Any) -> None:
    """Print a selection's calls and tokens, their cost on each route, and the paper's geometry."""
    work = estimated.work
    out.print(
        f"{estimated.budget:,} of {estimated.n_records:,} records, {estimated.n_prompts:,} prompts "
        f"that rank {estimated.n_ranked:,} each, {estimated.votes} "
        f"vote{'s' if estimated.votes > 1 else ''} per prompt"
    )
    out.print(_work(work))
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("route", no_wrap=True)
    table.add_column("model", overflow="fold")
    for name in ("price", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for i, cost in enumerate(estimated.costs):
        table.add_row(
            cost.route,
            cost.model,
            "unknown" if cost.usd is None else usd_span(cost.usd),
            span(cost.seconds, time_text),
            style="bold" if not i else "",
        )
        if cost.batch_usd is not None:
            table.add_row("", "  in batches", usd_span(cost.batch_usd))
    out.print(table)
    out.print(f"the paper's geometry: {_work(estimated.paper)}", end="")
    usd = estimated.paper_usd
    out.print(f", {usd_span(usd)}" if usd else "")
    for cost in estimated.costs:
        if cost.problem:
            err.print(f"{cost.route}: {cost.problem}", style="yellow", soft_wrap=True)
    err.print("Repeated calls after failures cost extra, up to llm_select.max_usd.")


def ungrouped() -> None:
    """Print that an estimate is not based on the real prompts yet."""
    err.print(
        "The prompts do not exist yet; this estimate assumes the same number of prompts of the "
        "same sizes."
    )


def ratings(quoted: Any) -> None:
    """Print the cost of the ratings for baseline.methods, in addition to the selection."""
    cost = quoted.cost
    usd = usd_text(None) if cost.usd is None else usd_span(cost.usd)
    out.print(
        f"additionally, ratings for baseline.methods: {_work(quoted.work)}, {usd} on {cost.route} "
        f"({cost.model}), capped at {quoted.max_usd:g} USD (baseline.max_usd)",
        soft_wrap=True,
    )
    if cost.problem:
        err.print(f"{cost.route}: {cost.problem}", style="yellow", soft_wrap=True)


def rows(
    records: Sequence[Mapping[str, Any]], columns: Sequence[str], total: Sequence[str] = ()
) -> None:
    """Print rows as a table, with the sums of the `total` columns below."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_footer=bool(total))
    for name in columns:
        is_number = bool(records) and isinstance(records[0][name], int | float)
        amount = _number(sum(row[name] for row in records)) if name in total else ""
        head = name.removesuffix("_tokens")
        justify: Any = "right" if is_number else "left"
        table.add_column(head, footer=amount, justify=justify, overflow="fold")
    for row in records:
        table.add_row(*(_number(row[name]) for name in columns))
    out.print(table)


def pruned(n: int, before: str, *, done: bool) -> None:
    """Print the number of answers that were deleted or would be deleted."""
    if done:
        out.print(f"{n:,} answers from before {before} deleted; their cost stays in the journal")
    else:
        out.print(f"{n:,} answers are from before {before}; add --yes to delete them")


def marked_for_retry(n: int) -> None:
    """Print the number of failed calls that were marked for retry."""
    out.print(f"{n:,} failed calls marked for retry; `dvc repro -f llm_select` repeats them")


def _work(work: "Workload") -> str:
    parts = (
        f"{span(work.calls, _count)} calls",
        f"{span(work.prompt_tokens, _count)} input tokens",
        f"{span(work.completion_tokens, _count)} output tokens",
    )
    return ", ".join(parts)


def span(bounds: Range, show: Any) -> str:
    """Format a range, or a single value if both ends look the same."""
    low, high = show(bounds[0]), show(bounds[1])
    return low if low == high else f"{low} to {high}"


def usd_span(bounds: Range) -> str:
    """Format a range of prices, giving the unit once."""
    low, _, high = span(bounds, usd_text).partition(" to ")
    return f"{low.removesuffix(' USD')} to {high}" if high else low


def _count(n: float) -> str:
    return f"{n:,.0f}"


def time_text(seconds: float) -> str:
    """Format a duration in seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
