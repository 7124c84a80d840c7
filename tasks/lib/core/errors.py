"""Errors that a user can cause or run into, each with its remedy.

CurationError         (exit status)
├── ParamError     2  params.yaml, an override of it or an environment variable is wrong
├── DataError      2  a file or its rows are wrong, or cannot be written
├── GraphError     2  dvc.yaml cannot be run, or a step disagrees with it
├── LLMError       2  a model or its provider refused
├── Busy           2  another run is in progress in this workspace
├── CheckFailed    1  everything ran, but the result is not good enough
├── StageFailed    *  a step failed; the status is the step's own
└── VariantFailed  1  some variants of a comparison failed

Other exit statuses: `CAPPED` for a selection that the spending cap cut short, and `INTERRUPTED`.
"""

import difflib
from collections.abc import Iterable
from functools import partial
from typing import Any, Self

from tasks.lib.core.format_text import visible, visible_line
from tasks.lib.core.hiding import hide

CAPPED = 3
INTERRUPTED = 130
REMAKE = "It was edited, or another version wrote it: run `dvc repro` to rebuild it."


class CurationError(Exception):
    """A mistake with a remedy, described in three parts. Secrets are hidden in each part.

    Attributes:
        what: What was expected and what was found.
        where: The file, line, key or record with the mistake.
        fix: What to do next.
        exit_code: The exit status of the process; 2 means bad input or usage.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str, fix: str) -> None:
        what, where, fix = hide(what), hide(where), hide(fix)
        super().__init__(what, where, fix)
        self.what, self.where, self.fix = what, where, fix

    @classmethod
    def parse(cls, text: str) -> Self:
        """Rebuild an error from the text that another process printed."""
        first, _, fix = text.strip().rpartition("\n  ")
        where, _, what = (first or fix).partition(": ")
        return cls(what, where=where, fix=fix if first else "Run `selectllm doctor`.")

    def __reduce__(self) -> tuple[Any, ...]:  # pickle would call it without where and fix
        rebuild = partial(type(self), where=self.where, fix=self.fix)
        return rebuild, (self.what,), self.__dict__

    def __str__(self) -> str:
        return f"{visible_line(self.where)}: {visible(self.what)}\n  {visible(self.fix)}"


class ParamError(CurationError):
    """params.yaml, an override of it, or an environment variable that it names is wrong."""


class DataError(CurationError):
    """A file is missing, unreadable or not writable, or does not match its schema."""


class GraphError(CurationError):
    """dvc.yaml cannot be run, or does not declare what a step uses."""


class LLMError(CurationError):
    """A model or its provider refused, and a retry would not help."""


class Busy(CurationError):
    """Another run is in progress in this workspace."""


class CheckFailed(CurationError):
    """Everything ran, but the result does not meet an expectation."""

    exit_code = 1


class StageFailed(CurationError):
    """A step failed.

    Attributes:
        exit_code: The step's own exit status, or 1 if the step died.
        died: Whether the step ended without giving a reason; only then is a retry worthwhile.
        is_check: Whether everything ran, but the result does not meet an expectation.
    """

    exit_code = 1
    died = False
    is_check = False


class VariantFailed(CurationError):
    """Some variants of a comparison failed; the others finished and were recorded."""

    exit_code = 1


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean x?`` for the known name closest to `name`, or an empty string."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {match[0]}?" if match else ""
