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

from tasks.likeness.cosines import Vectors, unit
from tasks.likeness.words import words

MAX_TERMS = 100_000  # the most frequent ones; bounds the memory


def tf_idf(texts: Sequence[str]) -> Any:
    """TF-IDF of texts over their own words: a sparse matrix, rows of unit norm or zero.

    Term frequencies count by their logarithm, so that a long passage does not outweigh all else.
    """
    vectorizer = TfidfVectorizer(
        analyzer=_terms, sublinear_tf=True, max_features=MAX_TERMS, dtype=np.float32
    )
    return vectorizer.fit_transform(texts)


def lexical_space(texts: Sequence[str], n_dims: int, seed: int) -> Vectors:
    """float32, shape (n, d), row i is ``texts[i]``, of unit norm.

    There are `n_dims` dimensions, or fewer where texts or words are fewer. Texts without any word
    share a term of their own.
    """
    table = tf_idf(texts)
    n_dims = min(n_dims, min(table.shape) - 1)
    if n_dims < 1:
        return unit(table.toarray())
    # One thread, since a sum's last bits tell how many shared it. Equal texts have no variance.
    with threadpool_limits(1), np.errstate(invalid="ignore"):
        return unit(TruncatedSVD(n_dims, random_state=seed).fit_transform(table))


def _terms(text: str) -> list[str]:
    return words(text) or [""]
