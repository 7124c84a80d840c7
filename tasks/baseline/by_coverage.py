"""Select by coverage of the vectors, or by novelty."""

import numpy as np

from tasks.lib.coverage.greedy import greedy
from tasks.lib.similarity.cosine import Rows, Vectors, unit
from tasks.lib.similarity.novelty import densities, rank_weights

MIN_DEVIATION = 1e-3  # of an axis, as a share of the greatest; anything less is noise


def facility_location(vectors: Vectors, budget: int, seed: int) -> Rows:
    """Return the greedy selection for facility location (`tasks.lib.coverage.greedy`)."""
    return greedy(vectors, np.arange(len(vectors)), budget, seed=seed).rows


def whitened_facility_location(vectors: Vectors, budget: int, seed: int) -> Rows:
    """Return the selection of `facility_location` for whitened vectors."""
    return facility_location(whitened(vectors), budget, seed)


def whitened(vectors: Vectors) -> Vectors:
    """Project vectors onto their principal axes, scale the axes to equal variance, and normalise.

    Axes with almost no deviation are left out.
    """
    centred = (vectors - vectors.mean(axis=0)).astype(np.float64)
    variances, axes = np.linalg.eigh(centred.T @ centred / len(vectors))
    deviations = np.sqrt(np.maximum(variances, 0))
    kept = deviations > max(MIN_DEVIATION * deviations.max(initial=0), 1e-9)
    if not kept.any():
        return vectors  # all are equal
    return unit(centred @ axes[:, kept] / deviations[kept])


def novelselect(vectors: Vectors, budget: int, seed: int) -> Rows:
    """Return a greedy selection for NovelSum (NovelSelect, arXiv 2502.17184).

    As in the released code (github.com/UmeanNever/NovelSum, novelselect.py), the first record is
    random. Each further record i has the greatest sum of (s(i) + s(j)) d(i, j) / r over the records
    j selected so far, where j is the r-th in ascending order of (s(i) + s(j)) d(i, j); s and d are
    defined in `tasks.lib.similarity.novelty`. The time grows with records x budget squared.
    """
    factors = densities(vectors, vectors)
    rows = np.empty(budget, np.intp)
    rows[0] = np.random.default_rng(seed).integers(len(vectors))
    weights = rank_weights(budget)
    ranked = np.full((budget, len(vectors)), np.inf, np.float32)  # each column ascends
    for n in range(1, budget):
        new = rows[n - 1]
        distances = np.maximum(1 - vectors @ vectors[new], 0) * (factors + factors[new])
        # To insert into an ascending column, set each place to the median of its own value, the new
        # value and the value in the place before.
        before = ranked[: n - 1].copy()
        np.minimum(ranked[:n], distances, out=ranked[:n])
        np.maximum(ranked[1:n], before, out=ranked[1:n])
        novelty = weights[:n] @ ranked[:n]
        novelty[rows[:n]] = -1
        rows[n] = novelty.argmax()
    return rows
