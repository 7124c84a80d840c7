"""The `selectllm` command."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from flows.cli import console, show_audit, show_cost
from flows.dvc.workspace import find_workspace, run_lock
from tasks.lib.core.errors import CurationError, ParamError
from tasks.lib.core.stage import JOURNAL, STATE_DIR

app = typer.Typer(
    help="Choose the N instructions most worth annotating from an unlabelled pool of M.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

journal = typer.Typer(help="The journal of bought answers.", no_args_is_help=True)
app.add_typer(journal, name="journal")


def _json_option(is_set: bool) -> bool:
    console.use_json(is_set=is_set)
    return is_set


AsJson = Annotated[
    bool,
    typer.Option(
        "--json", callback=_json_option, help="Print one JSON document; messages go to stderr."
    ),
]
Override = Annotated[
    list[str] | None,
    typer.Option("-S", metavar="KEY=VALUE", help="Set a key of params.yaml first; repeatable."),
]


@app.command()
def run(override: Override = None, as_json: AsJson = False) -> None:
    """Run the stages whose inputs changed; the others are Cached."""
    from flows.dvc.overrides import apply  # noqa: PLC0415

    workspace = find_workspace(Path.cwd())
    with run_lock(workspace):  # params.yaml must not change during a run
        for change in apply(workspace, override or []):
            console.changed(change)
    raise typer.Exit(_supervise("flows.curate", [], as_json))


@app.command()
def compare(override: Override = None, as_json: AsJson = False) -> None:
    """Run the variants in the compare section of params.yaml. -S does not change any file here."""
    from flows.dvc.variants import read_variants  # noqa: PLC0415

    read_variants(find_workspace(Path.cwd()), override or [])  # fails early, before a server starts
    raise typer.Exit(_supervise("flows.compare", override or [], as_json))


def _supervise(module: str, arguments: list[str], as_json: bool) -> int:
    from flows.cli.supervise import supervise  # noqa: PLC0415

    return supervise([sys.executable, "-m", module, *arguments, *(["--json"] if as_json else [])])


@app.command()
def plan(as_json: AsJson = False) -> None:
    """Show which stages the next run would run, and why."""
    from flows.dvc.plan import plan as make_plan  # noqa: PLC0415

    stages = make_plan(find_workspace(Path.cwd()))
    if as_json:
        console.as_json([asdict(planned) for planned in stages])
    else:
        console.plan(stages)


@app.command()
def estimate(override: Override = None, as_json: AsJson = False) -> None:
    """Estimate the cost before anything is paid. -S does not change any file here."""
    from flows.dvc.overrides import preview  # noqa: PLC0415
    from flows.dvc.plan import stale_before  # noqa: PLC0415
    from tasks.estimate.ratings import quote_ratings  # noqa: PLC0415
    from tasks.estimate.selection import quote  # noqa: PLC0415

    workspace = find_workspace(Path.cwd())
    values, changes = preview(workspace, override or [])
    is_grouped = not stale_before(workspace, "llm_select", changes)
    stale = [] if is_grouped else stale_before(workspace, "embed", changes)
    if stale:
        raise ParamError(
            "the records have not been read yet, or are out of date",
            where=f"stages {', '.join(stale)}",
            fix="Set the keys of these stages in params.yaml and run `dvc repro dedupe` first; it "
            "calls no model and costs nothing.",
        )
    estimated = quote(workspace, values, is_grouped=is_grouped)
    ratings = quote_ratings(workspace, values)
    if as_json:
        ratings_json = show_cost.plain(ratings)
        console.as_json(show_cost.plain(estimated) | {"ratings": ratings_json})
        return
    show_cost.estimate(estimated)
    if not is_grouped:
        show_cost.ungrouped()
    if ratings:
        show_cost.ratings(ratings)


@journal.command("list")
def journal_list(
    limit: Annotated[int, typer.Option(min=1, help="Number of answers.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the newest answers."""
    from tasks.estimate.journal_admin import newest  # noqa: PLC0415

    rows = newest(_journal(), limit)
    if as_json:
        console.as_json(rows)
    else:
        show_cost.rows(rows, ["created", "route", "model", "parsed", "usd", "key"])


@journal.command("sum")
def journal_sum(as_json: AsJson = False) -> None:
    """Sum the cost of all calls, including failed ones; `unknown` counts upper bounds."""
    from tasks.estimate.journal_admin import sums  # noqa: PLC0415

    rows = sums(_journal())
    if as_json:
        console.as_json(rows)
    else:
        columns = ["route", "model", "outcome", "calls", "prompt_tokens", "completion_tokens"]
        show_cost.rows(rows, [*columns, "usd", "unknown"], total=("calls", "usd", "unknown"))


@journal.command("prune")
def journal_prune(
    before: Annotated[str, typer.Option(help="Delete answers bought before this day.")],
    yes: Annotated[bool, typer.Option("--yes", help="Delete them; otherwise only count.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete old answers. Their cost stays in the journal; answers needed again are paid again."""
    from tasks.estimate.journal_admin import prune  # noqa: PLC0415

    n = prune(_journal(), before, dry_run=not yes)
    if as_json:
        console.as_json({"answers": n, "before": before, "deleted": yes})
    else:
        show_cost.pruned(n, before, done=yes)


@journal.command("retry-failed")
def journal_retry_failed(as_json: AsJson = False) -> None:
    """Mark questions without a usable answer for retry, once the cause is fixed."""
    from tasks.estimate.journal_admin import retry_failed  # noqa: PLC0415

    n = retry_failed(_journal())
    if as_json:
        console.as_json({"calls": n})
    else:
        show_cost.marked_for_retry(n)


def _journal() -> Path:
    return find_workspace(Path.cwd()) / STATE_DIR / JOURNAL


@app.command()
def verify(as_json: AsJson = False) -> None:
    """Prove the selection: rebuild it from the journal and compare, with no key and no network."""
    from tasks.audit.verify import verify as prove  # noqa: PLC0415

    proof = prove(find_workspace(Path.cwd()))
    if as_json:
        console.as_json(show_cost.plain(proof) | {"proven": not proof.differences})
    else:
        show_audit.proof(proof)
    raise typer.Exit(int(bool(proof.differences)))


@app.command()
def explain(
    record: Annotated[
        str,
        typer.Argument(metavar="ID", help="An id or its first digits, line:N or line:FILE:N."),
    ],
    as_json: AsJson = False,
) -> None:
    """Show the story of one record: whether it was picked and why, its rivals, and the cost."""
    from tasks.audit.explain import explain as find_story  # noqa: PLC0415

    story = find_story(find_workspace(Path.cwd()), record)
    if as_json:
        console.as_json(story)
    else:
        show_audit.story(story)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Find what is wrong with this setup, and say how to fix it."""
    from flows.cli.doctor import Status, diagnose  # noqa: PLC0415

    diagnoses = []
    for diagnosis in diagnose(Path.cwd()):
        diagnoses.append(diagnosis)
        if not as_json:
            console.diagnosis(diagnosis)
    if as_json:
        console.as_json([diagnosis._asdict() for diagnosis in diagnoses])
    raise typer.Exit(int(any(diagnosis.status is Status.WRONG for diagnosis in diagnoses)))


def main() -> None:
    """Run the command; report user errors without a traceback."""
    try:
        app()
    except CurationError as error:
        console.failed(error)
        raise SystemExit(error.exit_code) from None
