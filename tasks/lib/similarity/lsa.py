"""A word space: TF-IDF reduced by a truncated SVD (latent semantic analysis).

It shares nothing with the sentence encoder, so a method that groups records by the encoder is not
measured in its own space.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from threadpoolctl import threadpool_limits

from tasks.lib.similarity.cosine import Vectors, unit
from tasks.lib.similarity.words import words

MAX_TERMS = 100_000  # only the most frequent terms count, which bounds the memory
MAX_FITTED = 100_000  # texts; fitting on more would hardly change the space, but take gigabytes
BLOCK_TEXTS = 50_000  # texts of a larger pool projected at a time


def tf_idf(texts: Sequence[str]) -> Any:
    """Return the TF-IDF of texts over their own words: a sparse matrix, rows of unit norm or zero.

    Term frequencies count logarithmically, so that a long passage does not outweigh the rest.
    """
    return _vectorizer().fit_transform(texts)


def lexical_space(texts: Sequence[str], n_dims: int, seed: int) -> Vectors:
    """Return the vectors of texts: float32, shape (n, d), row i is ``texts[i]``, unit norm.

    There are `n_dims` dimensions, or fewer if there are fewer texts or words. Texts without words
    share a term of their own. The space is fitted on at most 100,000 random texts.
    """
    vectorizer = _vectorizer()
    table = vectorizer.fit_transform(_sample(texts, seed))
    n_dims = min(n_dims, min(table.shape) - 1)
    if n_dims < 1:
        return unit(table.toarray())
    svd = TruncatedSVD(n_dims, random_state=seed)
    # The last bits of a sum depend on the number of threads. Equal texts have no variance.
    with threadpool_limits(1), np.errstate(invalid="ignore"):
        reduced = svd.fit_transform(table)
        if len(texts) <= MAX_FITTED:
            return unit(reduced)
        del table, reduced
        space = np.empty((len(texts), n_dims), np.float32)
        for start in range(0, len(texts), BLOCK_TEXTS):
            part = slice(start, start + BLOCK_TEXTS)
            space[part] = unit(svd.transform(vectorizer.transform(texts[part])))
    return space


def _sample(texts: Sequence[str], seed: int) -> Sequence[str]:
    if len(texts) <= MAX_FITTED:
        return texts
    rows = np.random.default_rng((seed, 3)).permutation(len(texts))[:MAX_FITTED]
    return [texts[row] for row in np.sort(rows)]


def _vectorizer() -> Any:
    return TfidfVectorizer(
        analyzer=_terms, sublinear_tf=True, max_features=MAX_TERMS, dtype=np.float32
    )


def _terms(text: str) -> list[str]:
    return words(text) or [""]
