"""What commands have in common: their options, and how they end after Ctrl-C."""

import importlib.metadata
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from flows.cli import console
from tasks.lib.core.errors import INTERRUPTED


class Interruptible(TyperGroup):
    """A group of commands that end with the exit status for Ctrl-C; Typer would exit with 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            console.interrupted()
            raise typer.Exit(INTERRUPTED) from None


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


def show_version(is_set: bool) -> None:
    """Print the version and exit, as `--version` asks."""
    if is_set:
        typer.echo(f"selectllm {importlib.metadata.version('selectllm')}")
        raise typer.Exit
