"""What each record of a given order adds to the coverage of a pool."""

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tasks.lib.similarity.cosine import Rows, Vectors


def gains_in_order(vectors: Vectors, rows: Rows) -> NDArray[np.float64]:
    """Return how much each row adds to the mean coverage of the pool when it is selected.

    The coverage of a vector is its greatest cosine to a selected row, with cosines below 0
    counted as 0.

    Args:
        vectors: float32, shape (m, d), of unit norm or zero.
        rows: intp, shape (n,), rows of the vectors in the order of selection.
    """
    best = np.zeros(len(vectors), np.float32)
    gains = np.empty(len(rows))
    with threadpool_limits(1):  # the last bits of a sum depend on the number of threads
        for i, row in enumerate(rows):
            added = np.maximum(vectors @ vectors[row] - best, 0)
            gains[i] = added.mean(dtype=np.float64)
            best += added
    return gains
