"""Print a comparison of variants: a table, the failures, and where to see more."""

from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from flows.cli import console
from flows.tracking.comparison import Outcome, VariantState, measured, overlap_rows, rows
from flows.tracking.store import how_to_open
from tasks.lib.documents.paper_table import HEADLINES


def comparison(outcomes: Sequence[Outcome], address: str, tables: Sequence[Path] = ()) -> None:
    """Print the variants of a comparison, why any of them failed, and where to see more."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    names = [name for name in measured(outcomes) if name in HEADLINES]
    for heading in ("variant", "state", "ran", "selected", "USD", *names):
        is_text = heading in ("variant", "state")
        table.add_column(heading, justify="left" if is_text else "right")
    for o in outcomes:
        values = [o.metrics[name].value if name in o.metrics else None for name in names]
        numbers = [o.n_selected, o.used("usd"), *values]
        ran = "" if o.failure else f"{o.n_ran} of {o.n_stages}" if o.n_ran else "Cached"
        table.add_row(o.name, o.state, ran, *("-" if n is None else f"{n:.4g}" for n in numbers))
    console.out.print(table)
    for o in outcomes:
        if o.state is VariantState.FAILED:
            text = escape(f"{o.name}: {o.failure}")
            console.err.print(f"[red]failed:[/] {text}", markup=True, soft_wrap=True)
    for path in tables:
        console.out.print(f"table for a paper: {path}", soft_wrap=True)
    if address:
        console.out.print(f"\nside by side: {how_to_open(address)}", soft_wrap=True)
    if console.out.stderr:
        variants = [
            row | {"failure": o.failure} for row, o in zip(rows(outcomes), outcomes, strict=True)
        ]
        shared = overlap_rows([outcome for outcome in outcomes if outcome.ids])
        files = [str(path) for path in tables]
        console.as_json(
            {"variants": variants, "overlap": shared, "tables": files, "mlflow": address}
        )
