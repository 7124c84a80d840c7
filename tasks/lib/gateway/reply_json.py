"""JSON in a model's reply, and what can be wrong with an answer."""

import json
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, NamedTuple

MAX_CHARS = 20_000  # of an answer, the last ones; no list of slots needs as many


class AnswerFault(StrEnum):
    """Why an answer is none."""

    EMPTY = "empty"
    NO_LIST = "no_list"
    NOT_A_SLOT = "not_a_slot"
    OUT_OF_RANGE = "out_of_range"
    REPEATED = "repeated"
    TOO_FEW = "too_few"
    NO_SCORE = "no_score"
    NOT_A_HALF = "not_a_half"


class Unreadable(NamedTuple):
    """An answer that breaks the contract, and how."""

    fault: AnswerFault
    detail: str


def without_thoughts(text: str) -> str:
    """What follows the reasoning that some models write first; nothing if it never ended."""
    return text.rpartition("</think>")[2].partition("<think>")[0]


def json_objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in the text that stand in no other."""
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
