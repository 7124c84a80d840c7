"""Greedy selection of the records that cover a pool best, with a bonus for each record."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tasks.lib.similarity.cosine import Rows, Vectors, blocks, nearest

Floats = NDArray[np.float64]


class Cover(NamedTuple):
    """A selection in greedy order.

    Attributes:
        rows: intp, shape (n,), rows of the vectors.
        gains: float64, shape (n,), how much each record added to the mean coverage when it was
            selected, without its bonus.
    """

    rows: Rows
    gains: Floats


class Quota(NamedTuple):
    """How many candidates of each label must be selected, for one column.

    Attributes:
        labels: intp, shape (c,), the label of each candidate, from 0.
        counts: intp, shape (number of labels,), sum n.
    """

    labels: Rows
    counts: Rows


def greedy(  # noqa: PLR0913 - the parts of the objective
    vectors: Vectors,
    candidates: Rows,
    n: int,
    *,
    bonus: Floats | None = None,
    weights: Floats | None = None,
    annotated: Rows | None = None,
    groups: tuple[Quota, ...] = (),
    seed: int = 0,
) -> Cover:
    """Return `n` candidates, each the one that adds most to the objective at its turn.

    The objective of a selection S is the sum over all rows i of weight i times the greatest cosine
    of i to a record in S or `annotated`, with cosines below 0 counted as 0, plus the bonuses of S.
    It is monotone and submodular, so the selection reaches at least 1 - 1/e of the best possible
    value above that of `annotated` alone. A smaller selection is a prefix of a larger one. Ties go
    to the lower row.

    Args:
        vectors: float32, shape (m, d), of unit norm or zero.
        candidates: intp, shape (c,), distinct rows, none of them annotated; c at least n.
        n: Number of rows to select.
        bonus: float64, shape (c,), not negative, in units of the objective; 0 if None.
        weights: float64, shape (m,), not negative; 1 if None.
        annotated: intp, rows that cover from the start.
        groups: Quotas that the selection meets exactly.
        seed: Of the sample of rows, in a pool that is too large to measure on all of them.
    """
    del groups, seed
    order = np.argsort(candidates, kind="stable")
    rows = candidates[order]
    extra = np.zeros(len(rows)) if bonus is None else bonus[order]
    weights = np.ones(len(vectors)) if weights is None else weights
    with threadpool_limits(1):  # the last bits of a sum depend on the number of threads
        return _lazy(vectors, rows, n, extra, weights, _start(vectors, annotated))


def judge_bonus(  # noqa: PLR0913
    scores: Floats,
    weight: float,
    vectors: Vectors,
    candidates: Rows,
    n_prompts: int,
    *,
    weights: Floats | None = None,
) -> Floats:
    """Return the bonus of each candidate: its judge score times `weight`, in units of coverage.

    The unit is the mean sum of weights per prompt. It does not depend on the number of records
    to select, so a smaller selection stays a prefix of a larger one.

    Args:
        scores: float64, shape (c,), from 0 to 1.
        weight: How much the judge counts, from 0.
        vectors: float32, shape (m, d), of unit norm or zero.
        candidates: intp, shape (c,), rows that may be selected.
        n_prompts: Number of prompts into which the pool is grouped.
        weights: float64, shape (m,), of the rows; 1 if None.
    """
    del candidates
    total = float(len(vectors)) if weights is None else float(weights.sum())
    return scores * (weight * total / n_prompts / 10)


def _start(vectors: Vectors, annotated: Rows | None) -> NDArray[np.float32]:
    """Return the cosine of each row to the nearest annotated record; 0 if there is none."""
    if annotated is None or not len(annotated):
        return np.zeros(len(vectors), np.float32)
    return np.maximum(nearest(vectors, vectors[annotated]).cosines, 0).astype(np.float32)


def _lazy(  # noqa: PLR0913, PLR0917
    vectors: Vectors,
    rows: Rows,
    n: int,
    bonus: Floats,
    weights: Floats,
    best: NDArray[np.float32],
) -> Cover:
    """Select lazily: a gain only shrinks, so an old one is an upper bound of the gain now."""
    total = weights.sum() or 1.0

    def gain(part: Rows) -> Floats:
        added = np.maximum(vectors[part] @ vectors.T - best, 0)
        gains: Floats = added.astype(np.float64) @ weights
        return gains

    bounds = np.concatenate([gain(rows[part]) for part in blocks(len(rows), len(vectors))]) + bonus
    turns = np.zeros(len(rows), np.intp)  # in which each bound was computed
    selected, gains = np.empty(n, np.intp), np.empty(n)
    for turn in range(n):
        while turns[place := int(bounds.argmax())] < turn:
            bounds[place] = gain(rows[[place]])[0] + bonus[place]
            turns[place] = turn
        selected[turn] = rows[place]
        gains[turn] = (bounds[place] - bonus[place]) / total
        bounds[place] = -np.inf
        best = np.maximum(best, vectors @ vectors[rows[place]])
    return Cover(selected, gains)
