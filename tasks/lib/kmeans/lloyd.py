"""Lloyd's iteration with clusters of bounded sizes: assign all rows at best, move the centres."""

import os
from typing import NamedTuple

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.cluster import kmeans_plusplus

from tasks.lib.kmeans.blocks import in_blocks
from tasks.lib.kmeans.partition import Vectors
from tasks.lib.kmeans.prices import Costs, Labels
from tasks.lib.kmeans.transport import Bounds, assign

BLOCK = 8_192  # rows at a time
NOWHERE = -1  # the cluster of a row before the first iteration
SEEN = 200  # rows for each centre that k-means++ chooses from; all of a million take minutes
Sums = NDArray[np.float64]


class Run(NamedTuple):
    """Cluster of each row, int32 (n,); centres, their means, float32 (k, d); iterations done."""

    labels: Labels
    centres: Vectors
    n_iter: int


def first_centres(vectors: Vectors, k: int, rng: RandomState) -> Vectors:
    """Centres by k-means++ on a sample of the vectors, float32 (k, d)."""
    if len(vectors) > SEEN * k:
        vectors = vectors[np.sort(rng.choice(len(vectors), SEEN * k, replace=False))]
    centres: Vectors = kmeans_plusplus(vectors, k, random_state=rng)[0]
    return centres


def needed_mb(n: int, k: int, d: int) -> int:
    """Memory that clustering n vectors takes beside them; many equal ones may take thrice it."""
    costs, states, sample = 4 * n * k, 80 * n, 8 * min(n, SEEN * k) * d
    blocks = (os.cpu_count() or 1) * BLOCK * (8 * k + 4 * d)
    return -(-(costs + states + sample + blocks) // 10**6)


def lloyd(vectors: Vectors, centres: Vectors, bounds: Bounds, *, max_iter: int, tol: float) -> Run:
    """Clusters within the bounds, from the given centres on.

    No iteration raises the inertia, since each assignment is the best one for its centres and
    each centre the best one for its rows. Ends after `max_iter` iterations, or when one lowers
    the inertia by no more than `tol` times itself.

    Takes `needed_mb` of memory beside the vectors. Call it under threadpool_limits(1), and the
    result does not depend on the number of cores.

    Args:
        vectors: float32, shape (n, d), finite.
        centres: float32, shape (k, d).
        bounds: Of sizes; no upper one is 0.
        max_iter: At least 1.
        tol: At least 0.

    Raises:
        ValueError: The vectors are so long that float32 cannot hold their squared distances.
    """
    k = len(centres)
    squares = _sum_of_squares(vectors)
    if squares + _sum_of_squares(centres) > float(np.finfo(np.float32).max) / 8:
        raise ValueError("the vectors are too long for float32; scale them down")
    costs = np.empty((len(vectors), k), np.float32)
    labels, prices = np.full(len(vectors), NOWHERE, np.int32), np.zeros(k, np.float32)
    sums, before, n_iter = np.zeros(centres.shape), np.inf, 0
    while n_iter < max_iter:
        n_iter += 1
        _measure(vectors, centres, costs)
        last = labels
        labels, prices = assign(costs, bounds, prices)
        sums += _moved(vectors, last, labels, k)
        sizes = np.bincount(labels, minlength=k)[:, None]
        centres = np.where(sizes, sums / np.maximum(sizes, 1), centres).astype(np.float32)
        inertia = squares - float((sums**2 / np.maximum(sizes, 1)).sum())
        if before - inertia <= tol * inertia:
            break
        before = inertia
    return Run(labels, centres, n_iter)


def _measure(vectors: Vectors, centres: Vectors, costs: Costs) -> None:
    """Write squared distances to the centres, less a number of its own for each row.

    Measured from the mean of the centres, so that vectors far from the origin lose no digits.
    """
    middle = centres.mean(axis=0, dtype=np.float64)
    arms = centres - middle
    lengths = ((arms + 2 * middle) * arms).sum(axis=1).astype(np.float32)
    arms = (-2 * arms.T).astype(np.float32)

    def measure(block: slice) -> None:
        np.matmul(vectors[block], arms, out=costs[block])
        costs[block] += lengths

    in_blocks(measure, len(vectors), BLOCK)


def _moved(vectors: Vectors, last: Labels, labels: Labels, k: int) -> Sums:
    """By how much the sum of each cluster's vectors changed, float64 (k, d)."""
    rows = np.flatnonzero(labels != last)

    def add(block: slice) -> Vectors:
        some = rows[block]
        each = np.arange(len(some))
        signs = np.zeros((k, len(some)), np.float32)
        signs[labels[some], each] = 1
        leavers = np.flatnonzero(last[some] != NOWHERE)
        signs[last[some[leavers]], leavers] = -1
        changes: Vectors = signs @ vectors[some]
        return changes

    changes: Sums = np.sum(in_blocks(add, len(rows), BLOCK), axis=0, dtype=np.float64)
    return changes


def _sum_of_squares(vectors: Vectors) -> float:
    def add(block: slice) -> float:
        return float(np.einsum("nd,nd->", vectors[block], vectors[block], dtype=np.float64))

    return sum(in_blocks(add, len(vectors), BLOCK))
