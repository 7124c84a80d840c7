"""Compute what each record adds to the coverage of a pool, for a given order of selection."""

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tasks.lib.similarity.cosine import Rows, Vectors, nearest


def gains_in_order(
    vectors: Vectors,
    rows: Rows,
    *,
    weights: NDArray[np.float64] | None = None,
    annotated: Rows | None = None,
) -> NDArray[np.float64]:
    """Return how much each row adds to the mean coverage of the pool when it is selected.

    The coverage of a vector is its greatest cosine to a selected row, with cosines below 0
    counted as 0.

    Args:
        vectors: float32, shape (m, d), of unit norm or zero.
        rows: intp, shape (n,), rows of the vectors in the order of selection.
        weights: float64, shape (m,), non-negative, the weight of each vector; 1 if None.
        annotated: intp, rows that count as selected from the start.
    """
    best = np.zeros(len(vectors), np.float32)
    if annotated is not None and len(annotated):
        best = np.maximum(nearest(vectors, vectors[annotated]).cosines, 0).astype(np.float32)
    weights = np.ones(len(vectors)) if weights is None else weights
    total = float(weights.sum()) or 1.0
    gains = np.empty(len(rows))
    with threadpool_limits(1):  # the last bits of a sum depend on the number of threads
        for i, row in enumerate(rows):
            added = np.maximum(vectors @ vectors[row] - best, 0)
            gains[i] = added @ weights / total
            best += added
    return gains
