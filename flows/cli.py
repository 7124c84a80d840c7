"""The `selectllm` command."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from flows import show
from flows.errors import FlowError

app = typer.Typer(
    help="Choose the N instructions most worth annotating out of a pool of M, without any labels.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@app.command()
def run(
    override: Annotated[
        list[str] | None,
        typer.Option("-S", metavar="KEY=VALUE", help="Set a key of params.yaml first; repeatable."),
    ] = None,
) -> None:
    """Run the graph: stages whose inputs changed run, the others are Cached."""
    from flows.overrides import apply  # noqa: PLC0415
    from flows.supervise import supervise  # noqa: PLC0415
    from flows.workspace import find_root  # noqa: PLC0415

    apply(find_root(Path.cwd()), override or [], dry_run=True)  # before a server is started
    raise typer.Exit(supervise([sys.executable, "-m", "flows.curate", *(override or [])]))


@app.command()
def plan(as_json: AsJson = False) -> None:
    """Say which stages a run would run, and why."""
    from flows.plan import plan as make_plan  # noqa: PLC0415
    from flows.workspace import find_root  # noqa: PLC0415

    steps = make_plan(find_root(Path.cwd()))
    if as_json:
        show.as_json([asdict(step) for step in steps])
    else:
        show.plan(steps)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Find what is wrong with this set-up, and say how to mend it."""
    from flows.doctor import Verdict, examine  # noqa: PLC0415

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
    except FlowError as error:
        show.failed(error)
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main()
