"""Compute NovelSum, a measure of how novel the records of a selection are to each other.

See Yang et al. 2025, "Measuring Data Diversity for Instruction Tuning" (arXiv 2502.17184). The
novelty of record i in a set is the sum over its other records j of w(i, j) s(j) d(i, j), where

- d(i, j) is one minus the cosine of i and j;
- s(j) = (sum of d(j, k) over the 10 nearest records k of the pool)^-0.5 is the density around j:
  a difference counts for more where the pool is dense;
- w(i, j) = 1 / r, where j is the r-th nearest to i by s(j) d(i, j).

NovelSum adds up the novelty of all records. We divide it by the number of records and by the sum of
the weights w, so that selections of different sizes can be compared.
"""

import numpy as np
from numpy.typing import NDArray

from tasks.lib.similarity.cosine import Rows, Vectors, blocks

N_NEIGHBOURS = 10  # K of the paper
DENSITY_POWER = 0.5  # its beta
MIN_SUM = 1e-3  # of the distances to neighbours; copies of one record would be infinitely dense

Factors = NDArray[np.float32]


def densities(vectors: Vectors, pool: Vectors, own: Rows | None = None) -> Factors:
    """Return s(j), the density around each vector in a pool: float32, shape (n,).

    Args:
        vectors: float32, shape (n, d), of unit norm or zero.
        pool: float32, shape (m, d), of unit norm or zero.
        own: intp, shape (n,), the row of each vector in the pool, or -1; a vector is not its own
            neighbour. If None, row i of the pool is vector i.
    """
    own = np.arange(len(vectors)) if own is None else own
    n_near = min(N_NEIGHBOURS, len(pool) - 1)
    factors = np.ones(len(vectors), np.float32)
    if n_near < 1:
        return factors
    for part in blocks(len(vectors), len(pool)):
        cosines = vectors[part] @ pool.T
        inside = np.flatnonzero(own[part] >= 0)
        cosines[inside, own[part][inside]] = -2
        nearest = np.partition(cosines, -n_near, axis=1)[:, -n_near:]
        sums = np.maximum((1 - nearest).sum(axis=1), MIN_SUM)
        factors[part] = sums**-DENSITY_POWER
    return factors


def rank_weights(n: int) -> NDArray[np.float32]:
    """Return the weights 1/1 to 1/n of the ranks."""
    return (1 / np.arange(1, n + 1)).astype(np.float32)


def novel_sum(selected: Vectors, factors: Factors) -> float:
    """Return the NovelSum of a selection of at least two records, divided as described above.

    Args:
        selected: float32, shape (n, d), of unit norm or zero.
        factors: float32, shape (n,), s(j) of each selected record.
    """
    n = len(selected)
    weights, total = rank_weights(n - 1), 0.0
    for part in blocks(n, n):
        distances = np.maximum(1 - selected[part] @ selected.T, 0) * factors
        distances[np.arange(len(distances)), np.arange(part.start, part.stop)] = np.inf
        distances.sort(axis=1)
        total += float((distances[:, :-1] @ weights).sum())
    return total / n / float(weights.sum())
