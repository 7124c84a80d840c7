"""Choices that spread over the space of vectors."""

import numpy as np
from numpy.typing import NDArray

from tasks.lib.similarity.cosine import Rows, Vectors, blocks

EPSILON = 0.01  # of the guarantee; the time grows with its logarithm
MAX_GROUND = (
    20_000  # records to be served; more would change the choice little, and cost their square
)


def k_center(vectors: Vectors, budget: int) -> Rows:
    """Greedy k-center (Gonzalez): always the record farthest from all chosen ones.

    The first is the one nearest to the mean; ties go by row. The greatest distance of a record to
    the chosen ones is at most twice the least possible. That of a smaller budget is its beginning.
    """
    first = int((vectors @ vectors.mean(axis=0)).argmax())
    gaps = 1 - vectors @ vectors[first]
    gaps[first] = -1
    return np.concatenate([[first], farthest_first(vectors, gaps, budget - 1)]).astype(np.intp)


def farthest_first(vectors: Vectors, gaps: NDArray[np.float32], n: int) -> Rows:
    """`n` rows, always the one with the greatest gap to what is there already.

    Args:
        vectors: float32, shape (m, d), unit norm.
        gaps: float32, shape (m,), one minus the cosine to the nearest that is there; -1 for a
            record that may not be chosen. At least n may.
        n: How many.
    """
    gaps = gaps.copy()
    rows = np.empty(n, np.intp)
    for i in range(n):
        row = rows[i] = gaps.argmax()
        closed = gaps < 0
        np.minimum(gaps, np.maximum(1 - vectors @ vectors[row], 0), out=gaps)
        gaps[closed] = gaps[row] = -1
    return rows


def facility_location(vectors: Vectors, budget: int, seed: int) -> Rows:
    """Greedy facility location: each record is served by the chosen one it is most like.

    The next is the one that adds most to the sum of cosines between the records and their nearest
    chosen one, a cosine under 0 counting as 0. Each time a few candidates are drawn instead of
    trying all (stochastic greedy: in expectation at least 1 - 1/e - 0.01 of the greatest sum), so
    the time does not grow with the budget. Of more than 20,000 records so many are drawn to be
    served; all may be chosen.
    """
    rng = np.random.default_rng(seed)
    n = len(vectors)
    served = vectors if n <= MAX_GROUND else vectors[np.sort(rng.permutation(n)[:MAX_GROUND])]
    best = np.zeros(len(served), np.float32)
    is_open = np.ones(n, np.bool_)
    n_tried = int(np.ceil(n / budget * np.log(1 / EPSILON)))
    rows = np.empty(budget, np.intp)
    for i in range(budget):
        tried = rng.permutation(np.flatnonzero(is_open))[:n_tried]
        row = rows[i] = tried[_sums(vectors[tried], served, best).argmax()]
        is_open[row] = False
        np.maximum(best, served @ vectors[row], out=best)
    return rows


def _sums(tried: Vectors, served: Vectors, best: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the sum of best cosines would be with each of the tried ones."""
    sums = np.empty(len(tried), np.float32)
    for part in blocks(len(tried), len(served)):
        sums[part] = np.maximum(tried[part] @ served.T, best).sum(axis=1)
    return sums
