"""The `selectllm` command."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from flows.cli import check_routes, console, show_audit, show_cost
from flows.cli.journal import journal
from flows.cli.next_run import read_next_run
from flows.cli.shared_options import AsJson, Interruptible, Override, show_version
from flows.dvc.workspace import find_workspace, run_lock
from flows.service_checks import require_prefect_settings
from tasks.lib.core.errors import CAPPED, INTERRUPTED, CurationError

app = typer.Typer(
    help="Choose the N instructions most worth annotating from an unlabelled pool of M.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    cls=Interruptible,
)

app.add_typer(journal, name="journal")


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Handle the options of `selectllm` itself."""


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


@app.command()
def evaluate(
    override: Override = None,
    plan_only: Annotated[
        bool, typer.Option("--plan", help="Only show the models, their steps and the time.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fine-tune on the selection and on random records, and compare. -S changes no file here."""
    from flows.dvc.evaluation import ready_params  # noqa: PLC0415

    ready_params(find_workspace(Path.cwd()), override or [])  # fails early, before a server starts
    words = [*(override or []), *(["--plan"] if plan_only else [])]
    raise typer.Exit(_supervise("flows.evaluate", words, as_json))


@app.command()
def serve(as_json: AsJson = False) -> None:
    """Run the deployments in prefect.yaml on schedule, until Ctrl-C."""
    from flows.cli.supervise import END_RUN_WITHIN_S  # noqa: PLC0415

    raise typer.Exit(_supervise("flows.serve", [], as_json, END_RUN_WITHIN_S))


def _supervise(module: str, arguments: list[str], as_json: bool, more_s: float = 0.0) -> int:
    """Run a module; after a signal, give it `more_s` seconds more than usual to end."""
    from flows.cli.supervise import STOP_WITHIN_S, supervise  # noqa: PLC0415

    words = [*arguments, *(["--json"] if as_json else [])]
    command = [sys.executable, "-m", "flows.cli.start", module, *words]
    status = supervise(command, stop_within_s=STOP_WITHIN_S + more_s)
    if status == INTERRUPTED:
        console.interrupted()
    return status


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
    """Estimate the cost before you pay anything. -S does not change any file here."""
    from tasks.estimate.quote_ratings import quote_ratings  # noqa: PLC0415
    from tasks.estimate.quote_selection import quote  # noqa: PLC0415

    asked = read_next_run(override or [])
    estimated = quote(asked.workspace, asked.values, is_grouped=asked.is_grouped)
    ratings = quote_ratings(asked.workspace, asked.values)
    readiness = check_routes.make_readiness(asked.values)
    findings = [*readiness.findings(estimated.sizes), *readiness.endings_of_others()]
    if as_json:
        more = {"ratings": show_cost.plain(ratings), "findings": show_cost.plain(findings)}
        console.as_json(show_cost.plain(estimated) | more)
        return
    show_cost.estimate(estimated)
    if not asked.is_grouped:
        show_cost.ungrouped()
    if ratings:
        show_cost.ratings(ratings)
    check_routes.warn(findings)


@app.command()
def preview(
    route: Annotated[
        str | None, typer.Option(help="Alias of the model to try; by default llm_select.route.")
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Number of prompts to send.")] = 3,
    override: Override = None,
    as_json: AsJson = False,
) -> None:
    """Send a few prompts, show the replies, and project the cost of the run, which reuses them."""
    from flows.cli import show_preview  # noqa: PLC0415
    from tasks.estimate.preview import preview as send  # noqa: PLC0415

    asked = read_next_run(override or [], route)
    check_routes.require(check_routes.make_readiness(asked.values).findings(None))
    if not asked.is_grouped:
        show_preview.samples()
    view = show_preview.PreviewView()
    shown = {} if as_json else {"show": view.exchange}
    previewed = send(asked.workspace, asked.values, n, is_grouped=asked.is_grouped, **shown)
    if as_json:
        console.as_json(show_cost.plain(previewed))
    else:
        view.end(previewed)
    if previewed.is_interrupted:
        raise KeyboardInterrupt
    raise typer.Exit(CAPPED if previewed.is_capped else 0)


@app.command()
def verify(
    with_slow: Annotated[
        bool, typer.Option("--all", help="Rebuild outputs even if that takes minutes.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Prove the selection: rebuild it from the journal and compare, with no key and no network."""
    from tasks.audit.verify import verify as prove  # noqa: PLC0415

    proof = prove(find_workspace(Path.cwd()), with_slow=with_slow)
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
    require_prefect_settings()  # the imports below end in a traceback if any of them is wrong
    from flows.cli.diagnosis import Status, show  # noqa: PLC0415
    from flows.cli.doctor import diagnose  # noqa: PLC0415

    diagnoses = []
    for diagnosis in diagnose(Path.cwd()):
        diagnoses.append(diagnosis)
        if not as_json:
            show(diagnosis)
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
