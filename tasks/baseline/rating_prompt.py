"""Ask a model to rate a response, and parse its reply.

The model is asked for ``{"score": 4.5}``. As with picks, other forms are accepted if they are
unambiguous.
"""

import re
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

from tasks.lib.core.shown import shorten
from tasks.lib.gateway.fence import ITEM_HEADER, render_answered
from tasks.lib.gateway.reply import (
    ReplyProblem,
    UnusableReply,
    json_values,
    without_thoughts,
)
from tasks.lib.gateway.request import USER_MARK, Messages, read_words
from tasks.lib.journal.legacy import former_texts

HIGHEST = 5
PER_POINT = 2  # the journal stores integers, so ratings are stored in half points
MAX_TEXT_CHARS = 4000  # in a request or a response; a note marks where a longer one is shortened
REASK_WORDS = read_words(Path(__file__).parent / "rating_reask.txt")
SCORE = "score"

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {SCORE: {"type": "number", "minimum": 0, "maximum": HIGHEST}},
    "required": [SCORE],
    "additionalProperties": False,
}
"""The reply's schema. It does not require half points, since some providers reject `multipleOf`."""

_NUMBER = r"(?P<n>-?\d+(?:[.,]\d+)?)(?:\s*(?:/|out of)\s*(?P<of>\d+))?(?![\d.,]*\d|\s*%)"
_LABELLED = re.compile(
    rf"\b(?:score|rating)\b[\s:=*_\"'`]*(?:is\s+|of\s+)?{_NUMBER}", re.IGNORECASE
)
_BARE = re.compile(rf"[\s*_\"'`]*{_NUMBER}[\s*_\"'`.]*")


def rating_question(request: str, response: str) -> Messages:
    """Return the question about a response, with both texts in the user message only."""
    return _question(_words(), ITEM_HEADER, request, response)


def former_question(request: str, response: str) -> Messages:
    """Return the same question in the old wording, used up to journal version 2."""
    former = former_texts()
    return _question(former["rating"], former["item_header"], request, response)


def question_words() -> str:
    """Return the wording of the question, excluding the texts, and the wording of the re-ask."""
    return f"{_words()}\n{REASK_WORDS}"


def former_question_words() -> str:
    """Return the old wording of the question and the re-ask, used up to journal version 2."""
    return "\n".join(former_texts()[name] for name in ("rating", "rating_reask"))


def read_rating(text: str) -> list[int] | UnusableReply:
    """Return the rating in a reply as [rating in half points], or what is wrong with the reply.

    If there are several JSON objects, the last one with a score counts. This never raises.
    """
    text = without_thoughts(text)
    if not text:
        return UnusableReply(ReplyProblem.EMPTY, "it has no text")
    score = _find_score(text)
    if score is None:
        return UnusableReply(ReplyProblem.NO_SCORE, f"no score in {text[:80]!r}")
    if not 0 <= score <= HIGHEST:
        return UnusableReply(ReplyProblem.OUT_OF_RANGE, f"the score is not from 0 to {HIGHEST}")
    if PER_POINT * score % 1:
        return UnusableReply(ReplyProblem.NOT_A_HALF, f"{score:g} is not a whole or half number")
    return [int(PER_POINT * score)]


def _find_score(text: str) -> float | None:
    """Return the number in the text that is clearly the score, or None."""
    for value in reversed(list(json_values(text))):
        if SCORE in value:
            return _number(value[SCORE])
    if text.count("{") > text.count("}"):  # cut off, possibly within the number
        return None
    labelled = {_value(match) for match in _LABELLED.finditer(text)}
    if labelled:
        return labelled.pop() if len(labelled) == 1 else None
    return _number(text)


def _number(value: Any) -> float | None:
    """Return a number, even from a string that consists of one; None for any other value."""
    if isinstance(value, str):
        match = _BARE.fullmatch(value)
        return _value(match) if match else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _value(match: re.Match[str]) -> float | None:
    """Return the number in a match; None for a fraction of another total, such as 7/10."""
    if match["of"] is not None and int(match["of"][:9]) != HIGHEST:
        return None
    return float(match["n"].replace(",", "."))


def _question(words: str, header: str, request: str, response: str) -> Messages:
    system, user = words.split(f"\n{USER_MARK}\n")
    shown = shorten(request, MAX_TEXT_CHARS), shorten(response, MAX_TEXT_CHARS)
    item = render_answered(*shown, header)
    return [
        {"role": "system", "content": system.strip()},
        {"role": "user", "content": Template(user.strip()).substitute(item=item)},
    ]


@cache
def _words() -> str:
    return read_words(Path(__file__).parent / "rating.txt")
