"""Lloyd's iteration with bounded cluster sizes: assign all rows optimally, move the centres."""

import os
from typing import NamedTuple

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.cluster import kmeans_plusplus

from tasks.lib.kmeans.assign_rows import Bounds, assign
from tasks.lib.kmeans.cluster_prices import Costs, Labels
from tasks.lib.kmeans.partition import BLOCK, Vectors, in_blocks

UNASSIGNED = -1  # the cluster of a row before the first iteration
SAMPLED = 200  # rows per centre that k-means++ chooses from; a million rows would take minutes
Sums = NDArray[np.float64]


class LloydResult(NamedTuple):
    """The cluster of each row, int32 (n,); the means, float32 (k, d); the number of iterations."""

    labels: Labels
    centres: Vectors
    n_iter: int


def first_centres(vectors: Vectors, k: int, rng: RandomState) -> Vectors:
    """Choose centres by k-means++ on a sample of the vectors: float32, shape (k, d)."""
    if len(vectors) > SAMPLED * k:
        vectors = vectors[np.sort(rng.choice(len(vectors), SAMPLED * k, replace=False))]
    centres: Vectors = kmeans_plusplus(vectors, k, random_state=rng)[0]
    return centres


def needed_mb(n: int, k: int, d: int) -> int:
    """Return the extra memory that `lloyd` needs, which may triple if many vectors are equal."""
    costs, states, sample = 4 * n * k, 80 * n, 8 * min(n, SAMPLED * k) * d
    blocks = (os.cpu_count() or 1) * BLOCK * (8 * k + 4 * d)
    return -(-(costs + states + sample + blocks) // 10**6)


def lloyd(
    vectors: Vectors, centres: Vectors, bounds: Bounds, *, max_iter: int, tol: float
) -> LloydResult:
    """Return clusters within the bounds, starting from the given centres.

    No iteration raises the inertia, since each assignment is the best for its centres and each
    centre is the best for its rows. The loop stops after `max_iter` iterations, or when an
    iteration lowers the inertia by no more than `tol` times its value.

    It needs `needed_mb` of memory in addition to the vectors. Under threadpool_limits(1), the
    result does not depend on the number of cores.

    Args:
        vectors: float32, shape (n, d), finite.
        centres: float32, shape (k, d).
        bounds: The bounds on the sizes; every upper bound is at least 1.
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
    labels, prices = np.full(len(vectors), UNASSIGNED, np.int32), np.zeros(k, np.float32)
    sums, before, n_iter = np.zeros(centres.shape), np.inf, 0
    while n_iter < max_iter:
        n_iter += 1
        _measure(vectors, centres, costs)
        old_labels = labels
        labels, prices = assign(costs, bounds, prices)
        sums += _change_of_sums(vectors, old_labels, labels, k)
        sizes = np.bincount(labels, minlength=k)[:, None]
        centres = np.where(sizes, sums / np.maximum(sizes, 1), centres).astype(np.float32)
        inertia = squares - float((sums**2 / np.maximum(sizes, 1)).sum())
        if before - inertia <= tol * inertia:
            break
        before = inertia
    return LloydResult(labels, centres, n_iter)


def _measure(vectors: Vectors, centres: Vectors, costs: Costs) -> None:
    """Fill `costs` with the squared distances to the centres, minus a constant for each row.

    The origin is moved to the mean of the centres, so that vectors far from the origin keep their
    precision.
    """
    middle = centres.mean(axis=0, dtype=np.float64)
    arms = centres - middle
    lengths = ((arms + 2 * middle) * arms).sum(axis=1).astype(np.float32)
    arms = (-2 * arms.T).astype(np.float32)

    def measure(block: slice) -> None:
        np.matmul(vectors[block], arms, out=costs[block])
        costs[block] += lengths

    in_blocks(measure, len(vectors))


def _change_of_sums(vectors: Vectors, old_labels: Labels, labels: Labels, k: int) -> Sums:
    """Return how the sum of each cluster's vectors changes: float64, shape (k, d)."""
    moved = np.flatnonzero(labels != old_labels)

    def add(block: slice) -> Vectors:
        rows = moved[block]
        signs = np.zeros((k, len(rows)), np.float32)
        signs[labels[rows], np.arange(len(rows))] = 1
        leavers = np.flatnonzero(old_labels[rows] != UNASSIGNED)
        signs[old_labels[rows[leavers]], leavers] = -1
        changes: Vectors = signs @ vectors[rows]
        return changes

    changes: Sums = np.sum(in_blocks(add, len(moved)), axis=0, dtype=np.float64)
    return changes


def _sum_of_squares(vectors: Vectors) -> float:
    def add(block: slice) -> float:
        return float(np.einsum("nd,nd->", vectors[block], vectors[block], dtype=np.float64))

    return sum(in_blocks(add, len(vectors)))
