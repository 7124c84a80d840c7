"""Select by coverage of the vectors, alone or together with a judge's scores, or by novelty."""

import numpy as np

from tasks.baseline.by_score import Scores, highest
from tasks.lib.coverage.greedy import greedy
from tasks.lib.similarity.cosine import Rows, Vectors, unit
from tasks.lib.similarity.novelty import densities, rank_weights

QUALITY_SHARE = 0.5  # alpha of QDIT: coverage and quality count equally
MAX_COSINE = 0.9  # tau of DEITA
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


def qdit(vectors: Vectors, scores: Scores, budget: int, seed: int) -> Rows:
    """Return the greedy selection for coverage and quality (QDIT, arXiv 2311.14736).

    The next record a is the one with the greatest (1 - alpha) d(a) + alpha q(a). Here d(a) is its
    gain in the sum, over all records, of the greatest cosine to a selected record; q(a) is its
    judge score from 0 to 1 (0 if it was not judged). An alpha of 0.5 is our choice: the authors
    tune it for their rewards, which are on a different scale.
    """
    bonus = QUALITY_SHARE / (1 - QUALITY_SHARE) * np.nan_to_num(scores)
    return greedy(vectors, np.arange(len(vectors)), budget, bonus=bonus, seed=seed).rows


def deita(vectors: Vectors, scores: Scores, budget: int, seed: int) -> Rows:
    """Return records with high judge scores that are not too similar (DEITA, arXiv 2312.15685).

    Records are taken in descending order of score; ties are in random order. A record with a
    cosine above 0.9 to a record already taken is skipped. This filter and its threshold come from
    the released code (github.com/hkust-nlp/deita, selection/filter). There, the score is the
    product of the complexity and quality predicted by trained models, and too few records may
    remain. Here, if too few remain, the skipped records follow in order.
    """
    order = highest(scores, len(scores), seed)
    taken, skipped = np.empty(0, np.intp), []
    for row in order.tolist():
        if len(taken) == budget:
            break
        if len(taken) and (vectors[taken] @ vectors[row]).max() > MAX_COSINE:
            skipped.append(row)
        else:
            taken = np.append(taken, row)
    return np.concatenate([taken, np.array(skipped, np.intp)])[:budget].astype(np.intp)


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
