"""The `selectllm` command."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from flows.cli import console as show
from flows.cli import show_audit
from flows.cli import show_cost as show_money
from flows.errors import FlowError
from tasks.lib.core.errors import CurationError

app = typer.Typer(
    help="Choose the N instructions most worth annotating out of a pool of M, without any labels.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

journal = typer.Typer(help="The journal of bought answers.", no_args_is_help=True)
app.add_typer(journal, name="journal")

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Override = Annotated[
    list[str] | None,
    typer.Option("-S", metavar="KEY=VALUE", help="Set a key of params.yaml first; repeatable."),
]


@app.command()
def run(override: Override = None) -> None:
    """Run the graph: stages whose inputs changed run, the others are Cached."""
    from flows.cli.supervise import supervise  # noqa: PLC0415
    from flows.dvc.overrides import apply  # noqa: PLC0415
    from flows.dvc.workspace import find_root, sole_run  # noqa: PLC0415

    root = find_root(Path.cwd())
    with sole_run(root):  # never edit params.yaml under a run, nor start a server beside it
        for change in apply(root, override or []):
            show.changed(change)
    raise typer.Exit(supervise([sys.executable, "-m", "flows.curate"]))


@app.command()
def compare(override: Override = None) -> None:
    """Run the variants of params.yaml: compare, side by side. -S changes no file here."""
    from flows.cli.supervise import supervise  # noqa: PLC0415
    from flows.dvc.variants import read_variants  # noqa: PLC0415
    from flows.dvc.workspace import find_root  # noqa: PLC0415

    read_variants(find_root(Path.cwd()), override or [])  # before a server is started
    raise typer.Exit(supervise([sys.executable, "-m", "flows.compare", *(override or [])]))


@app.command()
def plan(as_json: AsJson = False) -> None:
    """Say which stages a run would run, and why."""
    from flows.dvc.plan import plan as make_plan  # noqa: PLC0415
    from flows.dvc.workspace import find_root  # noqa: PLC0415

    steps = make_plan(find_root(Path.cwd()))
    if as_json:
        show.as_json([asdict(step) for step in steps])
    else:
        show.plan(steps)


@app.command()
def estimate(override: Override = None, as_json: AsJson = False) -> None:
    """Say what answers would cost, before anything is paid. -S changes no file here."""
    from flows.dvc.overrides import preview  # noqa: PLC0415
    from flows.dvc.plan import stale_before  # noqa: PLC0415
    from flows.dvc.workspace import find_root  # noqa: PLC0415
    from flows.errors import ParamError  # noqa: PLC0415
    from tasks.estimate.ratings import quote_ratings  # noqa: PLC0415
    from tasks.estimate.selection import quote  # noqa: PLC0415

    root = find_root(Path.cwd())
    values, changes = preview(root, override or [])
    is_grouped = not stale_before(root, "llm_select", changes)
    stale = [] if is_grouped else stale_before(root, "embed", changes)
    if stale:
        raise ParamError(
            f"the records are not read yet, or not up to date: {', '.join(stale)}\n"
            "  Set what concerns them in params.yaml and run `dvc repro dedupe` first; it asks "
            "no model and costs nothing."
        )
    estimated = quote(root, values, is_grouped=is_grouped)
    ratings = quote_ratings(root, values)
    if as_json:
        show.as_json(show_money.plain(estimated) | {"ratings": show_money.plain(ratings)})
    else:
        show_money.estimate(estimated)
        if not is_grouped:
            show_money.ungrouped()
        if ratings:
            show_money.ratings(ratings)


@journal.command("list")
def journal_list(
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20, as_json: AsJson = False
) -> None:
    """The newest answers."""
    from tasks.estimate.journal_admin import newest  # noqa: PLC0415

    rows = newest(_journal(), limit)
    if as_json:
        show.as_json(rows)
    else:
        show_money.rows(rows, ["created", "route", "model", "parsed", "usd", "key"])


@journal.command("sum")
def journal_sum(as_json: AsJson = False) -> None:
    """What all calls cost so far, failed ones included; `unknown` of them are upper bounds."""
    from tasks.estimate.journal_admin import sums  # noqa: PLC0415

    rows = sums(_journal())
    if as_json:
        show.as_json(rows)
    else:
        columns = ["route", "model", "outcome", "calls", "prompt_tokens", "completion_tokens"]
        show_money.rows(rows, [*columns, "usd", "unknown"], total=("calls", "usd", "unknown"))


@journal.command("prune")
def journal_prune(
    before: Annotated[str, typer.Option(help="Forget answers bought before this day.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else only count.")] = False,
) -> None:
    """Forget old answers. What they cost stays on the books; asked again, they are paid again."""
    from tasks.estimate.journal_admin import prune  # noqa: PLC0415

    n = prune(_journal(), before, dry_run=not yes)
    show_money.pruned(n, before, done=yes)


@journal.command("retry-failed")
def journal_retry_failed() -> None:
    """Ask questions again that got no usable answer, now that the cause is fixed."""
    from tasks.estimate.journal_admin import retry_failed  # noqa: PLC0415

    show_money.retried(retry_failed(_journal()))


def _journal() -> Path:
    from flows.dvc.workspace import STATE_DIR, find_root  # noqa: PLC0415
    from tasks.lib.core.stage import JOURNAL  # noqa: PLC0415

    return find_root(Path.cwd()) / STATE_DIR / JOURNAL


@app.command()
def verify(as_json: AsJson = False) -> None:
    """Prove the selection: rebuild it from its journal and compare, with no key and no network."""
    from flows.dvc.workspace import find_root  # noqa: PLC0415
    from tasks.audit.verify import verify as prove  # noqa: PLC0415

    proof = prove(find_root(Path.cwd()))
    if as_json:
        show.as_json(show_money.plain(proof) | {"proven": not proof.differences})
    else:
        show_audit.proof(proof)
    raise typer.Exit(int(bool(proof.differences)))


@app.command()
def explain(
    record: Annotated[
        str, typer.Argument(metavar="ID", help="A record's id, its first digits, or line:N.")
    ],
    as_json: AsJson = False,
) -> None:
    """Tell the story of one record: picked or not, against whom, why, and for how much."""
    from flows.dvc.workspace import find_root  # noqa: PLC0415
    from tasks.audit.explain import explain as tell  # noqa: PLC0415

    story = tell(find_root(Path.cwd()), record)
    if as_json:
        show.as_json(story)
    else:
        show_audit.story(story)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Find what is wrong with this set-up, and say how to mend it."""
    from flows.cli.doctor import Verdict, examine  # noqa: PLC0415

    findings = []
    for finding in examine(Path.cwd()):
        findings.append(finding)
        if not as_json:
            show.finding(finding)
    if as_json:
        show.as_json([finding._asdict() for finding in findings])
    raise typer.Exit(int(any(finding.verdict is Verdict.WRONG for finding in findings)))


def main() -> None:
    """Run the command; a mistake of the user's is told in words and ends with its status."""
    try:
        app()
    except (FlowError, CurationError) as error:
        show.failed(error)
        raise SystemExit(error.exit_code) from None
