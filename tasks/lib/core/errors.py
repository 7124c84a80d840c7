"""The errors that a user can cause or meet, each with what to do about it.

CurationError         (exit status)
├── ParamError     2  params.yaml, an override of it or an environment variable is wrong
├── DataError      2  a file or its rows are wrong, or cannot be written
├── GraphError     2  dvc.yaml cannot be run, or a step disagrees with it
├── LLMError       2  a model or its provider refused
├── Busy           2  another run is working in this workspace
├── CheckFailed    1  everything ran, and the result is not good enough
├── StageFailed    *  a step failed; the status is the step's own
└── VariantFailed  1  some variants of a comparison failed, the others did not

Further exit statuses: `CAPPED` for a selection that the money cap cut short, and `INTERRUPTED`.
"""

import difflib
from collections.abc import Iterable
from functools import partial
from typing import Any, Self

CAPPED = 3
INTERRUPTED = 130
REMAKE = "It was edited, or another version wrote it: run `dvc repro` to make it again."


class CurationError(Exception):
    """A mistake that has a remedy, described in three parts.

    Attributes:
        what: What was expected and what came.
        where: The file, line, key or record it is about.
        fix: What to do next.
        exit_code: Exit status of the process that meets it (2: bad input or usage).
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str, fix: str) -> None:
        super().__init__(what, where, fix)
        self.what, self.where, self.fix = what, where, fix

    @classmethod
    def parse(cls, text: str) -> Self:
        """Rebuild the error that another process printed; `str` gives the same text again."""
        first, _, fix = text.strip().rpartition("\n  ")
        where, _, what = (first or fix).partition(": ")
        return cls(what, where=where, fix=fix if first else "Run `selectllm doctor`.")

    def __reduce__(self) -> tuple[Any, ...]:  # pickle would call it without where and fix
        rebuild = partial(type(self), where=self.where, fix=self.fix)
        return rebuild, (self.what,), self.__dict__

    def __str__(self) -> str:
        return f"{self.where}: {self.what}\n  {self.fix}"


class ParamError(CurationError):
    """params.yaml, an override of it, or the environment it names is wrong."""


class DataError(CurationError):
    """A file is missing, unreadable, not as declared, or cannot be written."""


class GraphError(CurationError):
    """dvc.yaml cannot be run, or does not declare what a step uses."""


class LLMError(CurationError):
    """A model or its provider refused in a way that no retry cures."""


class Busy(CurationError):
    """Another run is working in this workspace."""


class CheckFailed(CurationError):
    """Everything ran, and the result breaks an expectation."""

    exit_code = 1


class StageFailed(CurationError):
    """A step failed.

    Attributes:
        exit_code: The step's own exit status, or 1 when it died.
        died: Whether it ended without giving a reason; only then is another attempt worthwhile.
    """

    exit_code = 1
    died = False


class VariantFailed(CurationError):
    """Some variants of a comparison failed; the others are complete, and recorded."""

    exit_code = 1


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that `name` probably means, as ``; did you mean x?``, or nothing."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {match[0]}?" if match else ""
