"""Decide whether two similar texts ask for the same thing, and list the words that differ."""

import re
from difflib import SequenceMatcher
from typing import NamedTuple

from tasks.lib.text.courtesy import without_courtesy
from tasks.lib.text.notation import bare
from tasks.lib.text.typos import is_misspelling
from tasks.lib.text.words import Shape, Words, shape_of, spans, split

_END = re.compile(r"(?<=[^\W\d]{2})!+$|(?<![\\(\[|{^$*?])[?؟]$|[.:;。।]+$")

MIN_ACCENTED = 2


class WordChange(NamedTuple):
    """Words of one text, and the words in the same place in another text."""

    before: str
    after: str


class Meaning:
    """The parts of a record that decide what it asks for.

    Args:
        instruction: As returned by `tasks.lib.text.typography.comparable`, like `input_`.
        input_: A text in which every word and sign counts, including case.
    """

    def __init__(self, instruction: str, input_: str) -> None:
        instruction = without_courtesy(instruction)
        end = _END.search(instruction)
        self._end = end[0][0] if end else ""
        self._words = Words(instruction[: end.start()].rstrip() if end else instruction)
        self._input = input_ if input_.endswith("..") else input_.rstrip(".。।")

    def agrees_with(self, other: "Meaning") -> bool:
        """Return whether all differences between the two records are known to be harmless.

        The words and signs must be the same, in the same order, except for the mark at the end,
        polite words, English articles, hyphens between words, the comma before "and", short forms
        that `in_full` expands, misspelt words, accents that a whole text lacks, and capitals that
        the start of a sentence or the style of the text explains. In an input, only a full stop at
        the end may be missing.
        """
        ends = {self._end, other._end}
        if "?" in ends and len(ends) == 2 and "" not in ends:
            return False
        if self._input != other._input and split(self._input) != split(other._input):
            return False
        return _agree(self._words, other._words)


def changes(a: str, b: str) -> list[WordChange]:
    """Return the words and signs in which two normalised texts differ, in reading order."""
    places, others = spans(a), spans(b)
    matcher = SequenceMatcher(a=split(a), b=split(b), autojunk=False)
    return [
        WordChange(_cut(a, places[i:j]), _cut(b, others[k:m]))
        for tag, i, j, k, m in matcher.get_opcodes()
        if tag != "equal"
    ]


def _cut(text: str, places: list[tuple[int, int]]) -> str:
    return text[places[0][0] : places[-1][1]] if places else ""


def _agree(a: Words, b: Words) -> bool:
    """Compare the words in order; return False at the first difference that may matter."""
    i = j = 0
    while i < len(a.words) and j < len(b.words):
        if a.words[i] == b.words[j] or _is_same_word(a, i, b, j):
            i, j = i + 1, j + 1
        elif a.is_optional(i):
            i += 1
        elif b.is_optional(j):
            j += 1
        elif a.is_article(i) == b.is_article(j):  # neither is, or both are and differ
            return False
        elif a.is_article(i):
            i += 1
        else:
            j += 1
    return i == len(a.words) and j == len(b.words)  # a last word or sign can never be omitted


def _is_same_word(a: Words, i: int, b: Words, j: int) -> bool:
    x, y = a.words[i], b.words[j]
    if x.isdecimal() and bare(x) == bare(y):
        return True
    if not (a.is_plain(i) and b.is_plain(j)):
        return False
    if {x.lower(), y.lower()} == {"a", "an"}:
        return True
    folded = x.lower(), y.lower()
    if "ß" in x + y and Shape.UPPER in {a.shape, b.shape}:
        folded = x.casefold(), y.casefold()  # the capital form of ß is SS
    if folded[0] != folded[1]:
        if not (_lacks_accents(a, b) and bare(folded[0]) == bare(folded[1])) and not is_misspelling(
            *folded, (word.lower() for word in a.words)
        ):
            return False
        if shape_of(x) is shape_of(y):
            return True
    shapes = {shape_of(x), shape_of(y)}
    return _explains_case(a, i, shapes) or _explains_case(b, j, shapes)


def _lacks_accents(a: Words, b: Words) -> bool:
    """Return whether one text was typed without the accents that several words of the other have.

    One differing accent is not enough, since it may make a different word.
    """
    fewer, more = sorted((a.n_accented, b.n_accented))
    return fewer == 0 and more >= MIN_ACCENTED


def _explains_case(of: Words, i: int, shapes: set[Shape]) -> bool:
    """Return whether both capitalisations of a word are normal at its place or in its text."""
    is_slight = shapes == {Shape.LOWER, Shape.TITLE}
    if is_slight and of.starts_sentence(i):
        return True
    return of.shape is Shape.UPPER or (is_slight and of.shape is not None)
