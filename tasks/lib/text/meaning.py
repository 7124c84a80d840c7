"""Whether two similar texts ask for the same, and the words in which they differ."""

import re
from difflib import SequenceMatcher
from typing import NamedTuple, Self

from tasks.lib.text.courtesy import without_courtesy
from tasks.lib.text.spelling import is_misspelling
from tasks.lib.text.words import Shape, Token, spans, tokens, verbatim_tokens

MIN_WORDS = 3  # of a text that is all in capitals, or has none, for its case to mean nothing

_END = re.compile(r"(?<![^\W\d])(?<=[^\W\d]{2})!+$|(?<![\\(\[|{^$*?])[?؟]$|[.:;。।]+$")


class Change(NamedTuple):
    """Words of one text, and those of another that are in the same place."""

    before: str
    after: str


class Field(NamedTuple):
    """A normalised instruction or input.

    Attributes:
        end: The mark at its end, which may be missing in a text that asks for the same.
        shape: The shape that all its words of prose have; None if there are several, or few words.
    """

    tokens: list[Token]
    end: str
    shape: Shape | None


class Meaning(NamedTuple):
    """The parts of a record that decide what it asks for."""

    instruction: Field
    input: Field

    @classmethod
    def of(cls, instruction: str, input_: str) -> Self:
        """Split a record; both texts are as `comparable` returns them."""
        return cls(_instruction(instruction), _input(input_))

    def agrees_with(self, other: Self) -> bool:
        """Return whether all differences of the two records are known to be harmless.

        Their words and signs are the same, in the same order, except for the mark at the end,
        courtesy, English articles, hyphens between words, the comma before "and", contractions,
        misspelt words, and capitals where a sentence or the whole text explains them. In an input,
        only a full stop at the end may be missing.
        """
        return all(map(_agree, self, other))


def changes(a: str, b: str) -> list[Change]:
    """Return the words and signs in which two normalised texts differ, in reading order."""
    places = spans(a), spans(b)
    words = [
        [text[start:end] for start, end in of] for text, of in zip((a, b), places, strict=True)
    ]
    matcher = SequenceMatcher(None, *words, autojunk=False)
    return [
        Change(_cut(a, places[0][i:j]), _cut(b, places[1][k:m]))
        for tag, i, j, k, m in matcher.get_opcodes()
        if tag != "equal"
    ]


def _cut(text: str, places: list[tuple[int, int]]) -> str:
    return text[places[0][0] : places[-1][1]] if places else ""


def _instruction(text: str) -> Field:
    text = without_courtesy(text)
    end = _END.search(text)
    if end:
        text = text[: end.start()].rstrip()
    found = tokens(text)
    return Field(found, end[0][0] if end else "", _common_shape(found))


def _common_shape(found: list[Token]) -> Shape | None:
    words = [token.text for token in found if token.is_plain]
    if len(words) < MIN_WORDS:
        return None
    if all(word.islower() for word in words):
        return Shape.LOWER
    if all(word.isupper() for word in words):
        return Shape.UPPER
    return Shape.TITLE if all(word[0].isupper() for word in words) else None


def _input(text: str) -> Field:
    bare = text.rstrip(".。।") if not text.endswith("..") else text
    return Field(verbatim_tokens(bare), "", None)


def _agree(a: Field, b: Field) -> bool:
    """Walk through both at once; stop at the first difference that may matter."""
    if {a.end, b.end} > {"?"} and "" not in {a.end, b.end}:
        return False
    i = j = 0
    while i < len(a.tokens) and j < len(b.tokens):
        x, y = a.tokens[i], b.tokens[j]
        if x.text == y.text or _is_same_word(x, y, a, b):
            i, j = i + 1, j + 1
        elif x.is_article and y.is_article:
            return False
        elif x.is_optional:
            i += 1
        elif y.is_optional:
            j += 1
        else:
            return False
    return all(token.is_optional for token in a.tokens[i:] + b.tokens[j:])


def _is_same_word(x: Token, y: Token, a: Field, b: Field) -> bool:
    if not (x.is_plain and y.is_plain):
        return False
    if x.is_article and y.is_article and "the" not in {x.text.lower(), y.text.lower()}:
        return True
    lower = x.text.lower(), y.text.lower()
    if Shape.UPPER in {a.shape, b.shape}:
        lower = x.text.casefold(), y.text.casefold()  # ß is SS in capitals
    if lower[0] != lower[1]:
        words = {token.text.lower() for token in a.tokens if token.is_plain}
        if not is_misspelling(*lower, words):
            return False
        if x.shape is y.shape:
            return True
    return _is_case_harmless(x, y, a) or _is_case_harmless(y, x, b)


def _is_case_harmless(x: Token, y: Token, of: Field) -> bool:
    """Return whether the case of word `x` of a text explains that `y` has another case."""
    shapes = {x.shape, y.shape}
    if x.starts_sentence and shapes == {Shape.LOWER, Shape.TITLE}:
        return True
    if of.shape is Shape.UPPER:
        return True
    return of.shape is not None and shapes == {Shape.LOWER, Shape.TITLE}
