"""Options that several commands have."""

from typing import Annotated

import typer

from flows.cli import console


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
