"""The contents of a journal: answers, calls, and the outcomes of the calls."""

import json
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, NamedTuple, Self

import orjson

from tasks.lib.journal.canonical import canonical_json

OPEN = "open"  # the call is still running
ANSWER = "answer"
LOST = "lost"  # the run that made the call ended before it knew the outcome
RETRY = "retry "
"""Prefix of the outcome of a failed call that was marked for retry."""


class SelectionName(NamedTuple):
    """The name under which spending is capped: runs with the same name share one cap."""

    name: str
    former: str = ""  # the name of the same selection in journal version 2, if any


UNNAMED = SelectionName("")


class CallCost(NamedTuple):
    """The tokens of a call, and their price."""

    prompt_tokens: int
    completion_tokens: int
    usd: float
    is_upper_bound: bool  # the provider reported no usage, or the call has not ended yet
    reasoning_tokens: int = 0  # completion tokens used for thinking
    cached_tokens: int = 0  # prompt tokens that the provider found in its cache


class Answer(NamedTuple):
    """A validated answer."""

    key: str
    route: str  # the alias of the route that was called
    model: str  # as the provider names it
    text: str
    parsed: tuple[int, ...]  # slots, the best first; or the half points of a rating
    prompt_tokens: int
    completion_tokens: int
    usd: float
    is_upper_bound: bool
    dropped_params: tuple[str, ...]  # parameters that the model does not accept
    finish_reason: str
    reasoning_tokens: int = 0
    cached_tokens: int = 0

    def as_row(self) -> list[Any]:
        """Return the values as the table stores them, in field order."""
        return [json.dumps(value) if isinstance(value, tuple) else value for value in self]

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> Self:
        """Return the answer in a row of the table, with values in field order.

        Raises:
            ValueError: A value is not in the format that `as_row` writes.
            TypeError: As for ValueError.
        """
        facts = dict(zip(cls._fields, row, strict=True))
        if facts["is_upper_bound"] not in (False, True):
            raise ValueError(f"is_upper_bound: {facts['is_upper_bound']}")
        facts["is_upper_bound"] = bool(facts["is_upper_bound"])
        for name in ("parsed", "dropped_params"):
            facts[name] = _read_tuple(facts[name])
        return cls(**facts)

    @property
    def digest(self) -> str:
        """32 hex digits of a hash of all fields, by which a receipt identifies the answer.

        Fields at their defaults are left out, so that receipts older than a field still match.
        """
        defaults = self._field_defaults
        facts = self._asdict().items()
        return answer_key(**{name: v for name, v in facts if v != defaults.get(name)})[:32]


class Call(NamedTuple):
    """A call about to be made, at the upper bound of its cost."""

    key: str
    route: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    usd: float
    is_upper_bound: bool
    reasoning_tokens: int = 0
    cached_tokens: int = 0


class OpenCall(NamedTuple):
    """A call in the journal without an outcome yet."""

    id: int
    cost: CallCost  # the upper bound at which it is reserved


class Settled(NamedTuple):
    """The outcome of a call, and its cost."""

    outcome: str  # ANSWER, or the kind of error
    message: str
    reply: str  # an unusable reply, which the re-ask quotes
    prompt_tokens: int
    completion_tokens: int
    usd: float
    is_upper_bound: bool
    duration_s: float
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    remark: str = ""  # what the provider says about its reply: its own finish reason, a refusal


class AnsweredCall(NamedTuple):
    """When a call that got an answer began, and how long it took."""

    began: datetime
    duration_s: float


class FailedAttempt(NamedTuple):
    """A past call that got no answer."""

    outcome: str
    message: str
    reply: str


class FailedCall(NamedTuple):
    """A past call that got no answer, with its cost."""

    key: str
    outcome: str
    cost: CallCost


class Refused(StrEnum):
    """Why a call must not be made."""

    ANSWERED = "answered"
    """The answer is already in the journal."""
    TAKEN = "taken"
    """A call for the same key is open, in this run or in another live run."""
    OVER_CAP = "over_cap"
    """The call could cost more than what is left under the cap."""


def _read_tuple(text: Any) -> tuple[Any, ...]:
    found = tuple(orjson.loads(text))
    if str([*found]) != text and json.dumps(found) != text:  # str is quicker, for numbers only
        raise ValueError(text)
    return found


def answer_key(**facts: Any) -> str:
    """Return a hash of all facts that affect an answer: 64 hex digits."""
    return sha256(canonical_json(facts)).hexdigest()
