"""Selections that spread over the space of vectors."""

import numpy as np
from numpy.typing import NDArray

from tasks.lib.similarity.cosine import Rows, Vectors, blocks

EPSILON = 0.01  # what the guarantee loses; the time grows with log(1 / EPSILON)
MAX_SERVED = 20_000  # records; more would cost their square and change the selection little


def k_center(vectors: Vectors, budget: int) -> Rows:
    """Return a greedy k-center selection (Gonzalez): always the record farthest from all selected.

    The first is the one nearest to the mean; ties are in the order of rows. The greatest distance
    of a record to the selected ones is at most twice the least possible. The rows of a smaller
    budget are the first of these.
    """
    first = int((vectors @ vectors.mean(axis=0)).argmax())
    gaps = 1 - vectors @ vectors[first]
    gaps[first] = -1
    return np.concatenate([[first], farthest_first(vectors, gaps, budget - 1)]).astype(np.intp)


def farthest_first(vectors: Vectors, gaps: NDArray[np.float32], n: int) -> Rows:
    """Return `n` rows; each is the one with the greatest gap to the rows selected before it.

    Args:
        vectors: float32, shape (m, d), unit norm.
        gaps: float32, shape (m,), one minus the cosine to the nearest selected record; -1 for a
            record that must not be selected. At least n others are needed.
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


def facility_location(vectors: Vectors, budget: int, seed: int) -> Rows:
    """Return a greedy selection for facility location.

    Each record is served by the selected record it is most similar to. The next selected record is
    the one that adds most to the sum of these cosines, with cosines below 0 counted as 0. Each time
    only some random candidates are tried (stochastic greedy: in expectation at least
    1 - 1/e - 0.01 of the greatest sum), so the time does not grow with the budget. At most 20,000
    random records are served; all may be selected.
    """
    rng = np.random.default_rng(seed)
    n = len(vectors)
    served = vectors if n <= MAX_SERVED else vectors[np.sort(rng.permutation(n)[:MAX_SERVED])]
    best = np.zeros(len(served), np.float32)
    is_free = np.ones(n, np.bool_)
    n_tried = int(np.ceil(n / budget * np.log(1 / EPSILON)))
    rows = np.empty(budget, np.intp)
    for i in range(budget):
        tried = rng.permutation(np.flatnonzero(is_free))[:n_tried]
        row = rows[i] = tried[_sums(vectors[tried], served, best).argmax()]
        is_free[row] = False
        np.maximum(best, served @ vectors[row], out=best)
    return rows


def _sums(tried: Vectors, served: Vectors, best: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sum of best cosines if each of the tried records were selected."""
    sums = np.empty(len(tried), np.float32)
    for part in blocks(len(tried), len(served)):
        sums[part] = np.maximum(tried[part] @ served.T, best).sum(axis=1)
    return sums
