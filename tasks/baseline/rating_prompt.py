"""A rating: what a model is asked about a response, and how its reply is read.

Asked for is ``{"score": 4.5}``. As with picks, other forms are taken where what they mean is
beyond doubt.
"""

import re
from functools import cache
from string import Template
from typing import Any

from tasks.lib.gateway.fence import render_answered, shorten
from tasks.lib.gateway.prompt import USER_MARK, Messages, words
from tasks.lib.gateway.reply_json import (
    MAX_CHARS,
    AnswerFault,
    Unreadable,
    json_objects,
    without_thoughts,
)

HIGHEST = 5
PER_POINT = 2  # a journal keeps whole numbers, so ratings are kept in half points
MAX_TEXT_CHARS = 4000  # of a request or a response; a longer one is shortened, visibly
REASK = "rating_reask.txt"
SCORE = "score"

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {SCORE: {"type": "number", "minimum": 0, "maximum": HIGHEST}},
    "required": [SCORE],
    "additionalProperties": False,
}
"""Of the reply. It does not ask for halves: not every provider knows of multiples."""

_NUMBER = r"(?P<n>-?\d+(?:[.,]\d+)?)(?:\s*(?:/|out of)\s*(?P<of>\d+))?(?![\d.,]*\d|\s*%)"
_LABELLED = re.compile(
    rf"\b(?:score|rating)\b[\s:=*_\"'`]*(?:is\s+|of\s+)?{_NUMBER}", re.IGNORECASE
)
_BARE = re.compile(rf"[\s*_\"'`]*{_NUMBER}[\s*_\"'`.]*")


def rating_question(request: str, response: str) -> Messages:
    """The question how good a response is; both texts stand in the user's message alone."""
    system, user = _parts()
    texts = (shorten(text, MAX_TEXT_CHARS) for text in (request, response))
    return [
        {"role": "system", "content": system},
        {"role": "user", "content": Template(user).substitute(item=render_answered(*texts))},
    ]


def question_words() -> str:
    """All that the question says besides the texts, and what is said after a useless reply."""
    return "\n".join([words("rating.txt"), words(REASK)])


def read_rating(text: str) -> list[int] | Unreadable:
    """The rating in half points, 0 to 10, alone in a list; or what is wrong with the reply.

    Of several JSON objects the last one with a score counts. Never raises, whatever the text is.
    """
    text = without_thoughts(text[-MAX_CHARS:]).strip()
    if not text:
        return Unreadable(AnswerFault.EMPTY, "it holds no text")
    score = _find_score(text)
    if score is None:
        return Unreadable(AnswerFault.NO_SCORE, f"no score in {text[:80]!r}")
    if not 0 <= score <= HIGHEST:
        return Unreadable(AnswerFault.OUT_OF_RANGE, f"the score is not from 0 to {HIGHEST}")
    if PER_POINT * score % 1:
        return Unreadable(AnswerFault.NOT_A_HALF, f"{score:g} is no whole or half number")
    return [int(PER_POINT * score)]


def _find_score(text: str) -> float | None:
    """The number in the text that can only be meant as the score."""
    for value in reversed(list(json_objects(text))):
        if SCORE in value:
            return _number(value[SCORE])
    if text.count("{") > text.count("}"):  # cut off, maybe amid the number
        return None
    labelled = {_value(match) for match in _LABELLED.finditer(text)}
    if labelled:
        return labelled.pop() if len(labelled) == 1 else None
    return _number(text)


def _number(value: Any) -> float | None:
    """The number that a JSON value is, or that is all its text says."""
    if isinstance(value, str):
        match = _BARE.fullmatch(value)
        return _value(match) if match else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _value(match: re.Match[str]) -> float | None:
    """The number found; None where it is out of something else than what was asked for."""
    if match["of"] is not None and int(match["of"][:9]) != HIGHEST:
        return None
    return float(match["n"].replace(",", "."))


@cache
def _parts() -> tuple[str, str]:
    system, user = words("rating.txt").split(f"\n{USER_MARK}\n")
    return system.strip(), user.strip()
