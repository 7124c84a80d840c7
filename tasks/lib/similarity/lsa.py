"""Build word and character spaces: TF-IDF reduced by truncated SVD (latent semantic analysis).

These spaces share nothing with the sentence encoder, so a method that groups by the encoder is not
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

MAX_TERMS = 100_000  # only the most frequent terms count, which limits memory use
MAX_FITTED = 100_000  # texts; fitting on more would hardly change the space, but take gigabytes
BLOCK_TEXTS = 50_000  # texts of a larger pool projected at a time
MAX_GRAMS = 20_000  # only the most frequent runs count; a text has hundreds
# The character space reads only this much of a text; long passages would take most of the time.
MAX_CHARS = 1000


def tf_idf(texts: Sequence[str]) -> Any:
    """Return the TF-IDF vectors of texts: a sparse matrix with rows of unit norm or zero.

    Term frequencies are scaled logarithmically, so that a long passage does not dominate.
    """
    return _vectorizer().fit_transform(texts)


def lexical_space(texts: Sequence[str], n_dims: int, seed: int) -> Vectors:
    """Return the vectors of texts in a space of their words: float32, shape (n, d), of unit norm.

    There are `n_dims` dimensions, or fewer if there are fewer texts or words. Texts without words
    share one special term. The space is fitted on at most 100,000 random texts.
    """
    return _space(_vectorizer(), texts, n_dims, seed)


def character_space(texts: Sequence[str], n_dims: int, seed: int) -> Vectors:
    """Return the vectors of texts in a space of characters, as `lexical_space` does for words.

    The terms are runs of 3 and 4 characters of the casefolded text, including spaces and
    punctuation. So the space does not depend on words, and inflected forms of a word are similar.
    A text shorter than 3 characters is a single term.
    """
    vectorizer = TfidfVectorizer(
        analyzer=_grams, sublinear_tf=True, max_features=MAX_GRAMS, dtype=np.float32
    )
    return _space(vectorizer, texts, n_dims, seed)


def _space(vectorizer: Any, texts: Sequence[str], n_dims: int, seed: int) -> Vectors:
    table = vectorizer.fit_transform(_sample(texts, seed))
    n_dims = min(n_dims, min(table.shape) - 1)
    if n_dims < 1:
        return unit(table.toarray())
    svd = TruncatedSVD(n_dims, random_state=seed)
    # The last bits of a sum depend on the number of threads. Equal texts have no variance.
    with threadpool_limits(1), np.errstate(divide="ignore", invalid="ignore"):
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


def _grams(text: str) -> list[str]:
    text = " ".join(text[:MAX_CHARS].casefold().split())
    return [text[i : i + n] for n in (3, 4) for i in range(len(text) - n + 1)] or [text]
