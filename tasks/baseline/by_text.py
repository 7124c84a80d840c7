"""Select by texts alone, or at random."""

from collections.abc import Sequence

import numpy as np

from tasks.lib.similarity.cosine import Rows, blocks
from tasks.lib.similarity.words import rouge_l_table, words

N_OTHERS = 1000  # as in the paper; with all texts, time would grow with the square of their number
MAX_WORDS = 256  # of a text; comparing two long passages is slow and adds little


def random_rows(n: int, budget: int, seed: int) -> Rows:
    """Return `budget` random rows of n; a smaller selection is a prefix of a larger one."""
    return np.random.default_rng(seed).permutation(n)[:budget]


def by_length(texts: Sequence[str], budget: int, *, longest: bool) -> Rows:
    """Return the texts with the most or the fewest characters; ties are in row order."""
    lengths = np.array([len(text) for text in texts])
    return np.argsort(-lengths if longest else lengths, kind="stable")[:budget]


def rouge_diversity(texts: Sequence[str], budget: int, seed: int) -> Rows:
    """Return the texts with the lowest maximum ROUGE-L to 1000 random texts.

    The random texts are the same for every text; a text is not compared with itself. Only the first
    256 words count. Two selected texts may still be similar to each other if no random text is
    similar to them. Ties are in random order.
    """
    rng = np.random.default_rng(seed)
    sample = rng.permutation(len(texts))[:N_OTHERS]
    others = [words(texts[row])[:MAX_WORDS] for row in sample]
    greatest = np.empty(len(texts), np.float32)
    for part in blocks(len(texts), len(others)):
        table = rouge_l_table([words(text)[:MAX_WORDS] for text in texts[part]], others)
        inside = np.flatnonzero((sample >= part.start) & (sample < part.stop))
        table[sample[inside] - part.start, inside] = 0
        greatest[part] = table.max(axis=1)
    return np.lexsort((rng.permutation(len(texts)), greatest))[:budget]
