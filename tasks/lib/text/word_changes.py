"""Small differences that change what a text asks for, however much of it is the same."""

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import NamedTuple, Self

from tasks.lib.text.shingles import DENSE

# Passes most slips of Dolly (snowboad, Marocco, "on" for "one"); stops men for women, and Stark
# for Karstark.
SAME_WORD = 0.8

_DENSE = "".join(f"{chr(first)}-{chr(last)}" for first, last in DENSE)
# \w knows no combining marks, and would tear Hindi words apart: outside ASCII, whatever is in no
# block of punctuation belongs to a word.
_WORD = re.compile(rf"[{_DENSE}]|(?:[^\W{_DENSE}]|[^\x00-\xbf\u2000-\u206f\u3000-\u303f{_DENSE}])+")
_NUMBER = re.compile(r"\d+")


class Meaning(NamedTuple):
    """What of a normalised text must not differ.

    Attributes:
        numbers: Its runs of digits, in its order.
        words: Its words, each with how many of the same stand before it, so that a difference
            of two such sets is one of multisets. In dense scripts each character is a word; where
            there are neither spaces nor dense characters, a whole phrase is one.
    """

    numbers: tuple[str, ...]
    words: frozenset[tuple[str, int]]

    @classmethod
    def of(cls, text: str) -> Self:
        """The meaning of a normalised text."""
        seen: dict[str, int] = {}
        words = set()
        for word in _WORD.findall(text):
            words.add((word, seen.setdefault(word, 0)))
            seen[word] += 1
        return cls(tuple(_NUMBER.findall(text)), frozenset(words))

    def agrees(self, other: Self) -> bool:
        """Whether the numbers are the same and no word is exchanged for a different one.

        An added or a missing word is no exchange, nor is another spelling of a word.
        """
        if self.numbers != other.numbers:
            return False
        fewer, more = sorted((self.words - other.words, other.words - self.words), key=len)
        return all(_is_spelt_like_any(word, (w for w, _ in more)) for word, _ in fewer)


def _is_spelt_like_any(word: str, others: Iterable[str]) -> bool:
    matcher = SequenceMatcher(b=word, autojunk=False)
    for other in others:
        matcher.set_seq1(other)
        bounds = (matcher.real_quick_ratio, matcher.quick_ratio)  # above ratio, and much quicker
        if all(bound() >= SAME_WORD for bound in bounds) and matcher.ratio() >= SAME_WORD:
            return True
    return False
