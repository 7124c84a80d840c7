"""Choices that look at texts alone, or at nothing."""

from collections.abc import Sequence

import numpy as np

from tasks.lib.similarity.cosine import Rows, blocks
from tasks.lib.similarity.words import rouge_l_table, words

N_OTHERS = 1000  # as in the paper; against all, time would grow with the square of the records
MAX_WORDS = 256  # of a text; the common subsequence of two long passages takes long and says little


def at_random(n: int, budget: int, seed: int) -> Rows:
    """`budget` of n rows by lot; that of a smaller budget is its beginning."""
    return np.random.default_rng(seed).permutation(n)[:budget]


def by_length(texts: Sequence[str], budget: int, *, longest: bool) -> Rows:
    """The longest or the shortest texts, in characters; ties go by row."""
    lengths = np.array([len(text) for text in texts])
    return np.argsort(-lengths if longest else lengths, kind="stable")[:budget]


def rouge_diversity(texts: Sequence[str], budget: int, seed: int) -> Rows:
    """The texts whose greatest ROUGE-L with any of 1000 others is least; ties go by lot.

    The others are drawn once and are the same for every text; itself does not count. Looks at the
    first 256 words. Two of the chosen may still be alike, if no text drawn is like them.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(len(texts))[:N_OTHERS]
    others = [words(texts[row])[:MAX_WORDS] for row in drawn]
    greatest = np.empty(len(texts), np.float32)
    for part in blocks(len(texts), len(others)):
        table = rouge_l_table([words(text)[:MAX_WORDS] for text in texts[part]], others)
        inside = np.flatnonzero((drawn >= part.start) & (drawn < part.stop))
        table[drawn[inside] - part.start, inside] = 0
        greatest[part] = table.max(axis=1)
    return np.lexsort((rng.permutation(len(texts)), greatest))[:budget]
