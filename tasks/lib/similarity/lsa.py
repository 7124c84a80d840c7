"""A space of words: TF-IDF reduced by a truncated SVD (latent semantic analysis).

It shares nothing with the sentence encoder, so a method that grouped by the encoder is not judged
by its own ruler.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from threadpoolctl import threadpool_limits

from tasks.lib.similarity.cosine import Vectors, unit
from tasks.lib.similarity.words import words

MAX_TERMS = 100_000  # the most frequent ones; bounds the memory
MAX_FITTED = 100_000  # texts that make a space; more would hardly turn it, and cost gigabytes
BLOCK_TEXTS = 50_000  # of a larger pool, put into the space at a time


def tf_idf(texts: Sequence[str]) -> Any:
    """TF-IDF of texts over their own words: a sparse matrix, rows of unit norm or zero.

    Term frequencies count by their logarithm, so that a long passage does not outweigh all else.
    """
    return _weighing().fit_transform(texts)


def lexical_space(texts: Sequence[str], n_dims: int, seed: int) -> Vectors:
    """float32, shape (n, d), row i is ``texts[i]``, of unit norm.

    There are `n_dims` dimensions, or fewer where texts or words are fewer. Texts without any word
    share a term of their own. Of more than 100,000 texts so many drawn ones make the space.
    """
    weighing = _weighing()
    table = weighing.fit_transform(_drawn(texts, seed))
    n_dims = min(n_dims, min(table.shape) - 1)
    if n_dims < 1:
        return unit(table.toarray())
    reducing = TruncatedSVD(n_dims, random_state=seed)
    # One thread, since a sum's last bits tell how many shared it. Equal texts have no variance.
    with threadpool_limits(1), np.errstate(invalid="ignore"):
        reduced = reducing.fit_transform(table)
        if len(texts) <= MAX_FITTED:
            return unit(reduced)
        del table, reduced
        space = np.empty((len(texts), n_dims), np.float32)
        for start in range(0, len(texts), BLOCK_TEXTS):
            part = slice(start, start + BLOCK_TEXTS)
            space[part] = unit(reducing.transform(weighing.transform(texts[part])))
    return space


def _drawn(texts: Sequence[str], seed: int) -> Sequence[str]:
    if len(texts) <= MAX_FITTED:
        return texts
    drawn = np.random.default_rng((seed, 3)).permutation(len(texts))[:MAX_FITTED]
    return [texts[i] for i in np.sort(drawn)]


def _weighing() -> Any:
    return TfidfVectorizer(
        analyzer=_terms, sublinear_tf=True, max_features=MAX_TERMS, dtype=np.float32
    )


def _terms(text: str) -> list[str]:
    return words(text) or [""]
