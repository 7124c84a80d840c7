"""Split texts into words, and compare them with ROUGE-L."""

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import Indel

_DENSE = (
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana and Han: no spaces between words
)
_WORD = re.compile(rf"[{_DENSE}]|[^\W_{_DENSE}]+")

Words = list[str]


def words(text: str) -> Words:
    """Return the casefolded runs of letters and digits of a text, in order.

    In kana and Han, every character is its own word. Standard ROUGE keeps only a to z and 0 to 9,
    so texts in other scripts would have no words.
    """
    return _WORD.findall(text.casefold())


def distinct_2(texts: Sequence[str]) -> float:
    """Return the share of distinct pairs among pairs of neighbouring words; 0 if there are none."""
    pairs = [pair for text in texts for pair in pairwise(words(text))]
    return len(set(pairs)) / len(pairs) if pairs else 0.0


def rouge_l(a: Sequence[Words], b: Sequence[Words]) -> NDArray[np.float64]:
    """Return ROUGE-L F1 of each pair ``a[i], b[i]``: float64, shape (n,), 0 to 1.

    This is twice the longest common subsequence divided by the sum of both lengths, or 0 if either
    text is empty.
    """
    pairs = zip(a, b, strict=True)
    return np.array([_similarity(x, y) if x and y else 0.0 for x, y in pairs], np.float64)


def rouge_l_table(a: Sequence[Words], b: Sequence[Words]) -> NDArray[np.float32]:
    """Return ROUGE-L F1 of each text of `a` with each text of `b`: float32, (len(a), len(b))."""
    table: NDArray[np.float32] = process.cdist(a, b, scorer=_similarity, dtype=np.float32)
    table[[not x for x in a]] = 0  # two empty texts do not match
    return table


# Indel distance is the sum of lengths minus twice the common subsequence, so this is ROUGE-L F1.
_similarity = Indel.normalized_similarity
