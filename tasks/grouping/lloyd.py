"""Lloyd's iteration with clusters of bounded sizes: assign all rows at best, move the centres."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.grouping.blocks import in_blocks
from tasks.grouping.partition import Vectors
from tasks.grouping.prices import Costs, Labels
from tasks.grouping.transport import Bounds, assign

BLOCK = 8_192  # rows at a time
Sums = NDArray[np.float64]


class Run(NamedTuple):
    """Cluster of each row, int32 (n,); centres, their means, float32 (k, d); iterations done."""

    labels: Labels
    centres: Vectors
    n_iter: int


def lloyd(vectors: Vectors, centres: Vectors, bounds: Bounds, max_iter: int, tol: float) -> Run:
    """Clusters within the bounds, from the given centres on.

    No iteration raises the inertia, since each assignment is the best one for its centres and
    each centre the best one for its rows. Ends after `max_iter` iterations, or when one lowers
    the inertia by less than `tol` times itself.

    Beside the vectors it holds n k float32 costs. Call it under threadpool_limits(1), and the
    result does not depend on the number of cores.

    Args:
        vectors: float32, shape (n, d), finite.
        centres: float32, shape (k, d).
        bounds: Of sizes; no upper one is 0.
        max_iter: At least 1.
        tol: At least 0; with 0, ends when no row moves.
    """
    squares = _sum_of_squares(vectors)
    costs = np.empty((len(vectors), len(centres)), np.float32)
    labels, prices = None, np.zeros(len(centres), np.float32)
    sums, before = np.zeros(centres.shape), np.inf
    for n_iter in range(1, max_iter + 1):
        _measure(vectors, centres, costs)
        last = labels
        labels, prices = assign(costs, bounds, prices)
        sums += _moved(vectors, last, labels, len(centres))
        sizes = np.bincount(labels, minlength=len(centres))[:, None]
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


def _moved(vectors: Vectors, last: Labels | None, labels: Labels, k: int) -> Sums:
    """By how much each cluster's sum of vectors changed, from nothing if there is no `last`."""
    rows = np.arange(len(labels)) if last is None else np.flatnonzero(labels != last)

    def add(block: slice) -> Vectors:
        some = rows[block]
        each = np.arange(len(some))
        signs = np.zeros((k, len(some)), np.float32)
        signs[labels[some], each] = 1
        if last is not None:
            signs[last[some], each] = -1
        changes: Vectors = signs @ vectors[some]
        return changes

    return np.sum(in_blocks(add, len(rows), BLOCK), axis=0, dtype=np.float64)


def _sum_of_squares(vectors: Vectors) -> float:
    def add(block: slice) -> float:
        return float(np.einsum("nd,nd->", vectors[block], vectors[block], dtype=np.float64))

    return sum(in_blocks(add, len(vectors), BLOCK))
