"""The `selectllm journal` commands."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli import console, show_cost
from flows.cli.shared_options import AsJson
from flows.dvc.workspace import find_workspace

journal = typer.Typer(help="The journal of bought answers.", no_args_is_help=True)


@journal.command("list")
def journal_list(
    limit: Annotated[int, typer.Option(min=1, help="Number of answers.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the newest answers."""
    from tasks.estimate.journal_admin import journal_of, newest  # noqa: PLC0415

    rows = newest(journal_of(_root()), limit)
    if as_json:
        console.as_json(rows)
    else:
        show_cost.rows(rows, ["created", "route", "model", "parsed", "usd", "key"])


@journal.command("sum")
def journal_sum(as_json: AsJson = False) -> None:
    """Sum the cost of all calls, including failed ones; `unknown` counts upper bounds."""
    from tasks.estimate.journal_admin import journal_of, sums  # noqa: PLC0415

    rows = sums(journal_of(_root()))
    if as_json:
        console.as_json(rows)
    else:
        columns = ["route", "model", "outcome", "calls", "prompt_tokens", "completion_tokens"]
        show_cost.rows(rows, [*columns, "usd", "unknown"], total=("calls", "usd", "unknown"))


@journal.command("prune")
def journal_prune(
    before: Annotated[str, typer.Option(help="Delete answers bought before this day.")],
    yes: Annotated[bool, typer.Option("--yes", help="Delete them, not just count them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete old answers, but keep their cost. An answer that is needed again is bought again."""
    from tasks.estimate.journal_admin import journal_of, prune  # noqa: PLC0415

    n = prune(journal_of(_root()), before, dry_run=not yes)
    if as_json:
        console.as_json({"answers": n, "before": before, "deleted": yes})
    else:
        show_cost.pruned(n, before, done=yes)


@journal.command("retry-failed")
def journal_retry_failed(as_json: AsJson = False) -> None:
    """Mark questions without a usable answer for retry, once the cause is fixed."""
    from tasks.estimate.journal_admin import journal_of, retry_failed  # noqa: PLC0415

    n = retry_failed(journal_of(_root()))
    if as_json:
        console.as_json({"calls": n})
    else:
        show_cost.marked_for_retry(n)


def _root() -> Path:
    return find_workspace(Path.cwd())
