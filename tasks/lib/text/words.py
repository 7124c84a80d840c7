"""The words and signs of a normalised text, in order."""

import re
import sys
import unicodedata
from collections.abc import Iterator
from enum import Enum, auto
from itertools import groupby
from typing import NamedTuple

from tasks.lib.text.shingles import DENSE

UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
"""Thai, Lao, Myanmar and Khmer: a phrase has no spaces, so each character is a token."""

CONTRACTION = re.compile(
    r"(?P<stem>do|does|did|is|are|was|were|could|would|should|have|has|had)n'?t"
    r"|(?P<can>can't|cannot)|(?P<will>won't)"
    r"|(?P<subject>what|where|who|how|when|why|that|there|here|it|he|she)'s"
    r"|(?P<pronoun>i|you|we|they)'(?P<verb>re|m|ll|ve)",
    re.IGNORECASE,
)
VERBS = {"re": "are", "m": "am", "ll": "will", "ve": "have"}
ARTICLES = {"a", "an", "the"}
QUANTIFIERS = {"few", "little"}  # "a few" is not "few"
CONJUNCTIONS = {"and", "or", "und", "oder", "y", "o", "et", "ou", "e", "и", "или"}
SENTENCE_ENDS = ".?!"

_NEXT_TO_CODE = re.compile(r"[\w$@#\\/=<>*&|~%^+-]")
_CODE_AFTER = re.compile(r"[\[(=<>/\\@#$%^&*+|~]|\.\w|-[^\w\s]")


class Shape(Enum):
    """How a word is capitalised."""

    LOWER = auto()  # also words of scripts without case
    TITLE = auto()
    UPPER = auto()  # two capitals or more
    MIXED = auto()


class Token(NamedTuple):
    """A word or a sign, and where it is.

    Attributes:
        text: With the case of the original.
        start: Place of its first character.
        end: Place after its last character.
        is_plain: Whether it is a word of prose, neither quoted nor part of code, so that its
            spelling and its case may be a slip.
        starts_sentence: Whether its first letter is a capital for its place alone.
        is_optional: Whether it can be left out without a change of meaning.
    """

    text: str
    start: int
    end: int
    is_plain: bool = False
    starts_sentence: bool = False
    is_optional: bool = False

    @property
    def is_article(self) -> bool:
        """Whether it is an English article."""
        return self.is_optional and self.text.lower() in ARTICLES

    @property
    def shape(self) -> Shape:
        """How it is capitalised."""
        if self.text == self.text.lower():
            return Shape.LOWER
        if self.text[1:] == self.text[1:].lower():
            return Shape.TITLE
        return Shape.UPPER if self.text == self.text.upper() else Shape.MIXED


def _class_of_marks() -> str:
    """Return the combining marks, which are not word characters, as ranges of a character class."""
    marks = (unicodedata.category(chr(c))[0] == "M" for c in range(0x300, 0x10000))
    runs = groupby(enumerate(marks, 0x300), lambda item: item[1])
    ranges = [[chr(code) for code, _ in run] for is_mark, run in runs if is_mark]
    return "".join(f"{run[0]}-{run[-1]}" for run in ranges)


_DENSE = "".join(f"{chr(first)}-{chr(last)}" for first, last in DENSE)
_LETTER = rf"(?:[^\W{_DENSE}{UNSPACED}]|[{_class_of_marks()}])"
_TOKEN = re.compile(rf"[{_DENSE}{UNSPACED}]|{_LETTER}+(?:'{_LETTER}+)*|\n\t*|\S")


def spans(text: str) -> list[tuple[int, int]]:
    """Return the first place and the place after the last of each word and sign."""
    return [match.span() for match in _TOKEN.finditer(text)]


def tokens(text: str) -> list[Token]:
    """Return the words and signs of an instruction, with its contractions written in full."""
    found = list(_expanded(_plain_tokens(text)))
    for i, token in enumerate(found):
        before, after = found[i - 1] if i else None, found[i + 1] if i + 1 < len(found) else None
        if _is_optional(text, token, before, after):
            found[i] = token._replace(is_optional=True)
    return found


def verbatim_tokens(text: str) -> list[Token]:
    """Return the words and signs of a text in which everything counts."""
    return [Token(sys.intern(text[start:end]), start, end) for start, end in spans(text)]


def _plain_tokens(text: str) -> Iterator[Token]:
    quote, starts_sentence = "", True
    for start, end in spans(text):
        word = sys.intern(text[start:end])
        if word in {'"', "'", "`"} and quote in {"", word}:
            quote = "" if quote else word
        is_word = word[0].isalpha() and not any(c.isdigit() or c == "_" for c in word)
        is_plain = is_word and not quote and not _is_code(text, start, end)
        yield Token(word, start, end, is_plain, starts_sentence)
        starts_sentence = word in SENTENCE_ENDS or (starts_sentence and not is_word)


def _is_code(text: str, start: int, end: int) -> bool:
    """Return whether a word touches a sign as it does in code; a hyphen between words is none."""
    before, after = text[max(start - 1, 0) : start], text[end : end + 2]
    if before == "-" and start > 1:
        before = "" if text[start - 2].isalpha() else before
    if before == "." and start > 1:
        return not text[start - 2].isspace()
    return bool(_NEXT_TO_CODE.match(before)) or bool(_CODE_AFTER.match(after))


def _expanded(found: Iterator[Token]) -> Iterator[Token]:
    for token in found:
        match = CONTRACTION.fullmatch(token.text) if token.is_plain else None
        if match is None:
            yield token
            continue
        first, second = _in_full(match)
        if token.text[1:].isupper():
            first, second = first.upper(), second.upper()
        yield token._replace(text=first)
        yield token._replace(text=second, starts_sentence=False)


def _in_full(match: re.Match[str]) -> tuple[str, str]:
    parts = match.groupdict()
    if parts["subject"]:
        return parts["subject"], "is"
    if parts["pronoun"]:
        return parts["pronoun"], VERBS[parts["verb"].lower()]
    if parts["will"]:
        return match[0][0] + "ill", "not"
    return parts["stem"] or parts["can"][:3], "not"


def _is_optional(text: str, token: Token, before: Token | None, after: Token | None) -> bool:
    word = token.text
    if word in {"¿", "¡"}:
        return True
    if after is None or not (after.is_plain or word == "-"):
        return False
    if word == ",":
        return after.text in CONJUNCTIONS
    if word == "-":
        joins = before is not None and before.end == token.start and after.start == token.end
        return joins and before.is_plain and after.is_plain and len(before.text) > 1
    is_article = word in ARTICLES or (token.starts_sentence and word.lower() in ARTICLES)
    return token.is_plain and is_article and after.text.lower() not in QUANTIFIERS
