"""Compute NovelSum, a measure of how novel the records of a selection are to each other.

From Yang et al. 2025, "Measuring Data Diversity for Instruction Tuning" (arXiv 2502.17184), as
their released code computes it (github.com/UmeanNever/NovelSum, novelsum.py and utils.py). The
novelty of record i in a set is s(i) times the weighted mean of d(i, j) over all other records j:

- d(i, j) is one minus the cosine of i and j;
- the weight is 1 / r, where j is the r-th nearest to i;
- s(i) = (mean squared distance from i to the 10 nearest records of the pool)^-0.5 is the density
  around i: a difference counts more where the pool is dense.

NovelSum is the mean of the novelties, so selections of different sizes are on the same scale.
"""

import numpy as np
from numpy.typing import NDArray

from tasks.lib.similarity.cosine import Rows, Vectors, blocks

N_NEIGHBOURS = 10  # the paper's K
DENSITY_POWER = 0.5  # the paper's beta
MIN_MEAN = 2e-4  # squared distance to neighbours; copies of one record would be infinitely dense

Factors = NDArray[np.float32]


def densities(vectors: Vectors, pool: Vectors, own: Rows | None = None) -> Factors:
    """Return s(i) for each vector, measured within a pool: float32, shape (n,).

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
        means = np.maximum((2 - 2 * nearest).mean(axis=1), MIN_MEAN)
        factors[part] = means**-DENSITY_POWER
    return factors


def rank_weights(n: int) -> NDArray[np.float32]:
    """Return the weights of ranks 1 to n: 1/1, 1/2 and so on to 1/n."""
    return (1 / np.arange(1, n + 1)).astype(np.float32)


def novel_sum(selected: Vectors, factors: Factors) -> float:
    """Return the NovelSum of a selection of two records or more.

    Args:
        selected: float32, shape (n, d), of unit norm or zero.
        factors: float32, shape (n,), s(i) of each record.
    """
    n = len(selected)
    weights, total = rank_weights(n - 1), 0.0
    for part in blocks(n, n):
        distances = np.maximum(1 - selected[part] @ selected.T, 0)
        distances[np.arange(len(distances)), np.arange(part.start, part.stop)] = np.inf
        distances.sort(axis=1)
        total += float(factors[part] @ (distances[:, :-1] @ weights))
    return total / n / float(weights.sum())
