"""Parse the rating in a model's reply; as with picks, any unambiguous form is accepted."""

import re
from typing import Any

from tasks.baseline.rating_prompt import HIGHEST, SCORE
from tasks.lib.gateway.reply import (
    ReplyProblem,
    UnusableReply,
    json_values,
    without_thoughts,
)

PER_POINT = 2  # the journal stores integers, so ratings are stored in half points

_NUMBER = r"(?P<n>-?\d+(?:[.,]\d+)?)(?:\s*(?:/|out of)\s*(?P<of>\d+))?(?![\d.,]*\d|\s*%)"
_LABELLED = re.compile(
    rf"\b(?:score|rating)\b[\s:=*_\"'`]*(?:is\s+|of\s+)?{_NUMBER}", re.IGNORECASE
)
_BARE = re.compile(rf"[\s*_\"'`]*{_NUMBER}[\s*_\"'`.]*")


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
