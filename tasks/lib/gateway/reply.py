"""Read a model's reply and the JSON in it, and name what can be wrong with it."""

import json
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, NamedTuple

MAX_CHARS = 20_000  # read from the end of a reply; no list of slots is longer


class Reply(NamedTuple):
    """A model's reply. A token count is None if the provider did not report it."""

    text: str
    prompt_tokens: int | None
    completion_tokens: int | None
    finish_reason: str
    model: str  # as the provider names it, often with a date
    dropped_params: tuple[str, ...] = ()  # parameters that the model does not accept


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
    """What is wrong with a reply that cannot be used."""

    problem: ReplyProblem
    detail: str


def read_reply(response: Any, dropped_params: tuple[str, ...]) -> Reply:
    """Return the reply in LiteLLM's response; a missing part becomes empty or None."""
    choice = response.choices[0] if response.choices else None
    text = choice.message.content if choice else None
    usage = getattr(response, "usage", None)
    return Reply(
        text=text if isinstance(text, str) else "",
        prompt_tokens=getattr(usage, "prompt_tokens", None) or None,  # every prompt has tokens
        completion_tokens=getattr(usage, "completion_tokens", None) if usage else None,
        finish_reason=(choice.finish_reason if choice else None) or "",
        model=response.model or "",
        dropped_params=dropped_params,
    )


def without_thoughts(text: str) -> str:
    """Return the text after a model's reasoning; empty if the reasoning never ended."""
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
