"""The errors a user can cause or meet, each with what to do about it.

CurationError
├── ParamError    params.yaml or an environment variable is wrong
├── DataError     a file or its rows are wrong, or cannot be written
├── GraphError    a step and dvc.yaml disagree
├── LLMError      a model or its provider refused
└── CheckFailed   the run worked and its result is not good enough
"""

import difflib
from collections.abc import Iterable
from functools import partial
from typing import Any

REMAKE = "It was edited, or another version wrote it: run `dvc repro` to make it again."


class CurationError(Exception):
    """A mistake that has a remedy, told in three parts.

    Attributes:
        what: What was expected and what came.
        where: The file, line, key or record it is about.
        fix: What to do next.
        exit_code: How the process that meets it ends (2: bad input or usage).
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str, fix: str) -> None:
        super().__init__(what, where, fix)
        self.what, self.where, self.fix = what, where, fix

    def __reduce__(self) -> tuple[Any, ...]:  # pickle would call it without where and fix
        return partial(type(self), where=self.where, fix=self.fix), (self.what,)

    def __str__(self) -> str:
        return f"{self.where}: {self.what}\n  {self.fix}"


class ParamError(CurationError):
    """params.yaml, or the environment it names, is wrong."""


class DataError(CurationError):
    """A file is missing, unreadable, not as declared, or cannot be written."""


class GraphError(CurationError):
    """A step asks for a path that dvc.yaml does not declare."""


class LLMError(CurationError):
    """A model or its provider refused in a way that no retry cures."""


class CheckFailed(CurationError):
    """Everything ran, and the result breaks an expectation."""

    exit_code = 1


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that `name` was probably meant to be, as ``; did you mean x?``, or empty."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {match[0]}?" if match else ""
