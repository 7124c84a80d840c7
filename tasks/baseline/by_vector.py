"""Select records that are spread over the vector space."""

import numpy as np
from numpy.typing import NDArray

from tasks.lib.similarity.cosine import Rows, Vectors


def k_center(vectors: Vectors, budget: int) -> Rows:
    """Return Gonzalez's greedy k-center selection: each time, the record farthest from those taken.

    The first record is the one nearest to the mean; ties go to the first row. The greatest distance
    from a record to the nearest selected one is at most twice the optimum. A smaller selection is a
    prefix of a larger one.
    """
    first = int((vectors @ vectors.mean(axis=0)).argmax())
    gaps = 1 - vectors @ vectors[first]
    gaps[first] = -1
    return np.concatenate([[first], farthest_first(vectors, gaps, budget - 1)]).astype(np.intp)


def farthest_first(vectors: Vectors, gaps: NDArray[np.float32], n: int) -> Rows:
    """Return `n` rows, each with the greatest gap to the rows selected before it.

    Args:
        vectors: float32, shape (m, d), unit norm.
        gaps: float32, shape (m,), one minus the cosine to the nearest selected record; -1 for a
            record that must not be selected. At least n records must be selectable.
        n: Number of rows.
    """
    gaps = gaps.copy()
    rows = np.empty(n, np.intp)
    for i in range(n):
        row = rows[i] = gaps.argmax()
        excluded = gaps < 0
        np.minimum(gaps, np.maximum(1 - vectors @ vectors[row], 0), out=gaps)
        gaps[excluded] = gaps[row] = -1
    return rows
