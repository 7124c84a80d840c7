"""Ask a judge to compare two answers or to grade one, and parse its replies."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

from tasks.lib.core.shown_text import shorten
from tasks.lib.gateway.prompt_fence import fence_word
from tasks.lib.gateway.reply import (
    ReplyProblem,
    UnusableReply,
    json_values,
    without_thoughts,
)
from tasks.lib.gateway.request import USER_MARK, Messages, read_words

FOLDER = Path(__file__).parent
REASK_WORDS = read_words(FOLDER / "reask.txt")
COMPARE, GRADE = "compare.txt", "grade.txt"
MAX_TEXT_CHARS = 4000  # of each text; a note marks where a longer one was shortened
TIE, FIRST, SECOND = 0, 1, 2  # the parsed verdicts, which the journal stores
HIGHEST_GRADE = 10

_VERDICTS = {"TIE": TIE, "A": FIRST, "B": SECOND}
_BARE_VERDICT = re.compile(r"[\s*_\"'`\[]*(?:answer\s+)?(a|b|tie)[\s*_\"'`\].]*", re.IGNORECASE)
_BARE_GRADE = re.compile(r"\[\[(\d+(?:\.\d+)?)\]\]")  # the format of MT-Bench's own prompts


def _schema(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


WINNER_SCHEMA = _schema(winner={"type": "string", "enum": ["A", "B", "tie"]})
GRADE_SCHEMA = _schema(
    reason={"type": "string"}, rating={"type": "integer", "minimum": 1, "maximum": HIGHEST_GRADE}
)


def comparison(request: str, first: str, second: str) -> Messages:
    """Return messages that ask which answer is better, with all texts in the user message."""
    return _question(COMPARE, {"request": request, "answer A": first, "answer B": second})


def grading(turns: Mapping[str, str]) -> Messages:
    """Return messages that ask for a grade of an answer.

    Args:
        turns: The texts by heading, in order: the requests, the references and the answers.
    """
    return _question(GRADE, turns)


def question_words() -> str:
    """Return the wording of all questions, excluding the texts."""
    return "\n".join([_words(COMPARE), _words(GRADE), REASK_WORDS])


def read_winner(text: str) -> list[int] | UnusableReply:
    """Return the verdict in a reply as [TIE, FIRST or SECOND], or what is wrong with the reply.

    If there are several JSON objects, the last one with a winner counts. This never raises.
    """
    text = without_thoughts(text)
    if not text:
        return UnusableReply(ReplyProblem.EMPTY, "it has no text")
    for value in reversed(list(json_values(text))):
        if "winner" in value:
            found = _VERDICTS.get(str(value["winner"]).strip().upper())
            if found is not None:
                return [found]
    bare = _BARE_VERDICT.fullmatch(text)
    if bare:
        return [_VERDICTS[bare[1].upper()]]
    return UnusableReply(ReplyProblem.NO_SCORE, f"no winner in {text[:80]!r}")


def read_grade(text: str) -> list[int] | UnusableReply:
    """Return the grade in a reply as [grade in tenths], or what is wrong with the reply.

    If there are several JSON objects, the last one with a rating counts. This never raises.
    """
    text = without_thoughts(text)
    if not text:
        return UnusableReply(ReplyProblem.EMPTY, "it has no text")
    grade = _find_grade(text)
    if grade is None:
        return UnusableReply(ReplyProblem.NO_SCORE, f"no rating in {text[-80:]!r}")
    if not 1 <= grade <= HIGHEST_GRADE:
        return UnusableReply(
            ReplyProblem.OUT_OF_RANGE, f"the rating is not from 1 to {HIGHEST_GRADE}"
        )
    return [round(10 * grade)]


def _find_grade(text: str) -> float | None:
    for value in reversed(list(json_values(text))):
        rating = value.get("rating")
        if isinstance(rating, int | float) and not isinstance(rating, bool):
            return rating
        if isinstance(rating, str) and re.fullmatch(r"\d+(\.\d+)?", rating.strip()):
            return float(rating)
    found = _BARE_GRADE.findall(text)
    return float(found[-1]) if found else None


def _question(file: str, texts: Mapping[str, str]) -> Messages:
    """Return a file's messages with the texts inserted, each between lines with a fence word."""
    system, user = _words(file).split(f"\n{USER_MARK}\n")
    shown = {heading: shorten(text, MAX_TEXT_CHARS) for heading, text in texts.items()}
    word = fence_word(list(shown.values()))
    lines = [f"A line with {word} is a separator, not part of a text."]
    for heading, text in shown.items():
        lines += [f"----- {word} {heading} -----", text]
    fenced = "\n".join([*lines, f"----- {word} end -----"])
    return [
        {"role": "system", "content": system.strip()},
        {"role": "user", "content": Template(user.strip()).substitute(texts=fenced)},
    ]


@cache
def _words(file: str) -> str:
    return read_words(FOLDER / file)
