"""What stands in a journal: answers, calls, and what became of them."""

import json
from collections.abc import Sequence
from enum import StrEnum
from hashlib import sha256
from typing import Any, NamedTuple, Self

OPEN = "open"  # a call under way
ANSWER = "answer"
LOST = "lost"  # the run that made it ended before it knew what came of it


class Answer(NamedTuple):
    """A validated answer, as it was bought."""

    route: str  # the alias that was asked
    model: str  # as the provider names it
    text: str
    picks: tuple[int, ...]  # slots, the best first; of a rating one number, its half points
    prompt_tokens: int
    completion_tokens: int
    usd: float
    is_bound: bool  # tokens and price are upper bounds, since the provider did not tell
    left_out: tuple[str, ...]  # parameters that the model does not take
    finish_reason: str

    def as_row(self) -> list[Any]:
        """Its values as the table holds them, in the order of our fields."""
        return [json.dumps(value) if isinstance(value, tuple) else value for value in self]

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> Self:
        """The answer that a row of the table holds, its values in the order of our fields."""
        answer = cls(*row)
        return answer._replace(
            picks=tuple(json.loads(row[3])),
            is_bound=bool(answer.is_bound),
            left_out=tuple(json.loads(row[8])),
        )

    @property
    def digest(self) -> str:
        """32 hex digits of all of it, so that a receipt can tell it from another."""
        return answer_key(**self._asdict())[:32]


class Call(NamedTuple):
    """A call that is to be made, and the most that it can cost."""

    key: str
    route: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    usd: float


class Settled(NamedTuple):
    """What came of a call, and what it cost; a bound where that is not known."""

    outcome: str  # ANSWER, or the kind of fault
    message: str
    reply: str  # of a reply that was no answer, for a question that names its fault
    prompt_tokens: int
    completion_tokens: int
    usd: float
    is_bound: bool
    duration_s: float


FORGIVEN = "forgiven "
"""Before the outcome of a call that no longer stands against asking again."""


class Tried(NamedTuple):
    """A call of the past that brought no answer."""

    outcome: str
    message: str
    reply: str


class Refused(StrEnum):
    """Why a call must not be made."""

    ANSWERED = "answered"
    """The answer is in the journal by now."""
    TAKEN = "taken"
    """Another call for it is under way, of this run or of another one that lives."""
    OVER = "over"
    """It could cost more than is left of the cap."""


def answer_key(**facts: Any) -> str:
    """The key of the answer to a question: 64 hex digits of all that changes the answer."""
    canonical = json.dumps(facts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return sha256(canonical.encode()).hexdigest()
