"""The finding of a check, as `selectllm doctor` prints it."""

from enum import StrEnum
from typing import NamedTuple, Self

from tasks.lib.core.errors import CurationError


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
