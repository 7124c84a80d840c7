"""JSON in a model's reply, and what can be wrong with the reply."""

import json
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, NamedTuple

MAX_CHARS = 20_000  # of a reply, the last ones; no list of slots is longer


class ReplyProblem(StrEnum):
    """Why a reply cannot be used as an answer."""

    EMPTY = "empty"
    NO_LIST = "no_list"
    NOT_A_SLOT = "not_a_slot"
    OUT_OF_RANGE = "out_of_range"
    REPEATED = "repeated"
    TOO_FEW = "too_few"
    NO_SCORE = "no_score"
    NOT_A_HALF = "not_a_half"


class UnusableReply(NamedTuple):
    """A reply that breaks the contract, and how."""

    problem: ReplyProblem
    detail: str


def without_thoughts(text: str) -> str:
    """Return the text after the reasoning of a model; nothing if the reasoning never ended."""
    return text.rpartition("</think>")[2].partition("<think>")[0]


def json_objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the outermost JSON objects in the text."""
    decoder = json.JSONDecoder()
    start = text.find("{")
    while start != -1:
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            yield value
        start = text.find("{", end)
