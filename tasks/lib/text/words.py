"""Split a normalised text into words and signs, and classify them."""

import re
import unicodedata
from enum import Enum, auto
from functools import cached_property
from itertools import groupby

from tasks.lib.text.notation import bare, in_full
from tasks.lib.text.shingles import DENSE

UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
"""Thai, Lao, Myanmar and Khmer: a phrase has no spaces, so each character is a token."""

QUOTES = ('"', "'", "`")
ARTICLES = {"a", "an", "the"}
QUANTIFIERS = {"few", "little"}  # "a few" is not "few"
CONJUNCTIONS = {"and", "or", "und", "oder", "y", "o", "et", "ou", "e", "и", "или"}
SENTENCE_ENDS = (".", "?", "!")
MIN_WORDS = 3  # of a text; in a shorter text, the case of a word may be significant

_NAME = re.compile(r"[\d_]")
_CODE_BEFORE = re.compile(r"[\w$@#\\/=<>*&|~%^+-]")
_CODE_AFTER = re.compile(r"[\[(=<>/\\@#$%^&*+|~]|\.\w|-[^\w\s]")


class Shape(Enum):
    """How a word is capitalised."""

    LOWER = auto()  # also words of scripts without case
    UPPER = auto()  # two capitals or more
    TITLE = auto()
    MIXED = auto()


def _class_of_marks() -> str:
    """Return the combining marks as ranges for a character class; they are not word characters."""
    marks = (unicodedata.category(chr(c))[0] == "M" for c in range(0x300, 0x10000))
    runs = groupby(enumerate(marks, 0x300), lambda item: item[1])
    ranges = [[chr(code) for code, _ in run] for is_mark, run in runs if is_mark]
    return "".join(f"{run[0]}-{run[-1]}" for run in ranges)


_DENSE = "".join(f"{chr(first)}-{chr(last)}" for first, last in DENSE)
_LETTER = rf"(?:[^\W{_DENSE}{UNSPACED}]|[{_class_of_marks()}])"
_TOKEN = re.compile(rf"[{_DENSE}{UNSPACED}]|{_LETTER}+(?:'{_LETTER}+)*|\n\t*|\S")


def spans(text: str) -> list[tuple[int, int]]:
    """Return the start and the end of each word and sign."""
    return [match.span() for match in _TOKEN.finditer(text)]


def split(text: str) -> list[str]:
    """Return the words and signs of a normalised text."""
    found: list[str] = _TOKEN.findall(text)
    return found


class Words:
    """The words and signs of an instruction, in order, with short forms expanded.

    A word's properties are computed on demand, since most texts differ in few words.
    """

    def __init__(self, text: str) -> None:
        self.text = in_full(text)
        self.words = split(self.text)

    @cached_property
    def shape(self) -> Shape | None:
        """The shape that all plain words share; None if shapes differ or there are few words."""
        n_words, possible = 0, {Shape.LOWER, Shape.UPPER, Shape.TITLE}
        for i, word in enumerate(self.words):
            if self.is_plain(i):
                n_words += 1
                begins = Shape.TITLE if word[0].isupper() else Shape.LOWER
                possible &= {begins, Shape.UPPER if word.isupper() else begins}
                if not possible:
                    return None
        return min(possible, key=list(Shape).index) if n_words >= MIN_WORDS else None

    @cached_property
    def n_accented(self) -> int:
        """The number of words with accents; ñ does not count, since it is a separate letter."""
        words = (word.replace("ñ", "n") for word in self.words if not word.isdecimal())
        return sum(word != bare(word) for word in words)

    def is_plain(self, i: int) -> bool:
        """Return whether a word is prose, neither quoted nor code, so that it may be misspelt."""
        word = self.words[i]
        is_word = word.isalpha() or (word[0].isalpha() and not _NAME.search(word))
        return is_word and not self._is_quoted[i] and not self._is_code(i)

    def starts_sentence(self, i: int) -> bool:
        """Return whether a word is at the start of a sentence, where it may have a capital."""
        while i > 0 and not self.words[i - 1][0].isalnum():
            i -= 1
            if self.words[i] in SENTENCE_ENDS:
                return True
        return i == 0

    def is_article(self, i: int) -> bool:
        """Return whether a word is an English article that can be omitted."""
        word = self.words[i]
        is_article = word in ARTICLES or (word.lower() in ARTICLES and self.starts_sentence(i))
        if not is_article or i + 1 == len(self.words) or not self.is_plain(i):
            return False
        return self.is_plain(i + 1) and self.words[i + 1].lower() not in QUANTIFIERS

    def is_optional(self, i: int) -> bool:
        """Return whether a sign can be omitted without changing the meaning."""
        word = self.words[i]
        if word in {"¿", "¡"}:
            return True
        if i == 0 or i + 1 == len(self.words):
            return False
        if word == ",":
            return self.words[i + 1] in CONJUNCTIONS and self.is_plain(i + 1)
        return word == "-" and self._is_hyphen(i)

    def _is_hyphen(self, i: int) -> bool:
        (_, end), (start, after), (following, _) = self._spans[i - 1 : i + 2]
        joins = end == start and after == following and len(self.words[i - 1]) > 1
        return joins and self.is_plain(i - 1) and self.is_plain(i + 1)

    @cached_property
    def _spans(self) -> list[tuple[int, int]]:
        return spans(self.text)

    @cached_property
    def _is_quoted(self) -> list[bool]:
        quote, is_quoted = "", []
        for word in self.words:
            if word in QUOTES and quote in {"", word}:
                quote = "" if quote else word
            is_quoted.append(bool(quote))
        return is_quoted

    def _is_code(self, i: int) -> bool:
        """Return whether a word adjoins a sign that suggests code; "well-known" does not count."""
        start, end = self._spans[i]
        before, after = self.text[max(start - 1, 0) : start], self.text[end : end + 2]
        earlier = self.text[max(start - 2, 0) : start - 1]
        if before == ".":
            return not earlier.isspace()
        if before == "-" and earlier.isalpha():
            before = ""
        return bool(_CODE_BEFORE.match(before)) or bool(_CODE_AFTER.match(after))


def shape_of(word: str) -> Shape:
    """Return how a word is capitalised."""
    if word == word.lower():
        return Shape.LOWER
    if word[1:] == word[1:].lower():
        return Shape.TITLE
    return Shape.UPPER if word == word.upper() else Shape.MIXED
