"""Exchanged words and numbers: small differences that change what a text asks for."""

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import NamedTuple, Self

from tasks.lib.text.shingles import DENSE

SAME_WORD = 0.8
"""Similarity of two spellings of one word. Accepts most typos of Dolly (snowboad, Marocco, "on" for
"one"); rejects men for women, and Stark for Karstark."""

_DENSE = "".join(f"{chr(first)}-{chr(last)}" for first, last in DENSE)
# \w excludes combining marks, and would split Hindi words. So, outside ASCII, everything that is
# not in a block of punctuation belongs to a word.
_WORD = re.compile(rf"[{_DENSE}]|(?:[^\W{_DENSE}]|[^\x00-\xbf\u2000-\u206f\u3000-\u303f{_DENSE}])+")
_NUMBER = re.compile(r"\d+")


class WordsAndNumbers(NamedTuple):
    """The words and numbers of a normalised text.

    Attributes:
        numbers: Its runs of digits, in order.
        words: Its words, each with the number of the same words before it, so that a difference
            of two sets is one of multisets. In dense scripts each character is a word; in other
            scripts without spaces, a whole phrase is.
    """

    numbers: tuple[str, ...]
    words: frozenset[tuple[str, int]]

    @classmethod
    def of(cls, text: str) -> Self:
        """Split a normalised text."""
        counts: dict[str, int] = {}
        words = set()
        for word in _WORD.findall(text):
            words.add((word, counts.setdefault(word, 0)))
            counts[word] += 1
        return cls(tuple(_NUMBER.findall(text)), frozenset(words))

    def agree_with(self, other: Self) -> bool:
        """Return whether the numbers are the same and no word is exchanged for a different one.

        An added or a missing word is not an exchange, nor is another spelling of a word.
        """
        if self.numbers != other.numbers:
            return False
        fewer, more = sorted((self.words - other.words, other.words - self.words), key=len)
        return all(_is_spelt_like_any(word, (w for w, _ in more)) for word, _ in fewer)


def _is_spelt_like_any(word: str, others: Iterable[str]) -> bool:
    matcher = SequenceMatcher(b=word, autojunk=False)
    for other in others:
        matcher.set_seq1(other)
        bounds = (matcher.real_quick_ratio, matcher.quick_ratio)  # above ratio, and much faster
        if all(bound() >= SAME_WORD for bound in bounds) and matcher.ratio() >= SAME_WORD:
            return True
    return False
