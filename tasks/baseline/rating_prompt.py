"""Ask a model to rate a response. It is asked for ``{"score": 4.5}``."""

from functools import cache
from pathlib import Path
from string import Template
from typing import Any

from tasks.lib.core.shown_text import shorten
from tasks.lib.gateway.prompt_fence import ITEM_HEADER, render_answered
from tasks.lib.gateway.request import USER_MARK, Messages, read_words
from tasks.lib.journal.legacy import former_texts

HIGHEST = 5
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
