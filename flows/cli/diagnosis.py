"""The finding of a check, and how `selectllm doctor` prints it."""

from enum import StrEnum
from typing import NamedTuple, Self

from rich.markup import escape

from flows.cli import console
from tasks.lib.core.errors import CurationError

MARKS = {"ok": "[green]ok     [/]", "warning": "[yellow]warning[/]", "wrong": "[red]wrong  [/]"}


class Status(StrEnum):
    """The result of a check; only ``wrong`` makes the command exit with status 1."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


class Diagnosis(NamedTuple):
    """The finding of a check, and how to fix it (empty if nothing needs fixing)."""

    status: Status
    what: str
    fix: str = ""

    @classmethod
    def of(cls, error: CurationError) -> Self:
        """Turn an error into a diagnosis."""
        return cls(Status.WRONG, f"{error.where}: {error.what}", error.fix)


def show(result: Diagnosis) -> None:
    """Print a diagnosis, with its fix on the next line."""
    console.out.print(f"{MARKS[result.status]} {escape(result.what)}", markup=True, soft_wrap=True)
    if result.fix:
        console.out.print(f"        {result.fix.strip()}", soft_wrap=True)
