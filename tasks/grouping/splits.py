"""Equal-size clusters at any scale, by splitting the records in two again and again."""

import numpy as np
from numpy.typing import NDArray

from tasks.grouping.partition import Rows, Vectors

POWER_STEPS = 10  # 30 lower the inertia of a thousand clusters by 0.2 % more, in 1.3 times the time
HALVING_STEPS = 20  # most halvings are stable after 5 to 10


def split(vectors: Vectors, sizes: NDArray[np.intp], seed: int) -> list[Rows]:
    """Clusters of just these sizes, neighbours in the list being alike.

    A node of the tree halves its records along their principal axis, then moves the two centres
    until the halves are stable. Time grows as n log(number of clusters), memory as n.

    Args:
        vectors: float32, shape (n, d).
        sizes: Sizes of the clusters, which sum to n; each at least 1.
        seed: Where the search for a principal axis starts.

    Returns:
        For each size the rows of `vectors` in that cluster; every row is in exactly one.
    """
    rng = np.random.default_rng(seed)
    ends = np.concatenate([[0], np.cumsum(sizes)])
    clusters: list[Rows] = []
    no_axis = np.zeros(vectors.shape[1], np.float32)
    nodes = [(0, len(sizes), np.arange(len(vectors)), no_axis)]
    while nodes:
        first, last, rows, parent_axis = nodes.pop()
        if last - first == 1:
            clusters.append(rows)
            continue
        middle = (first + last) // 2
        inside = vectors[rows]
        axis = _principal_axis(inside, rng)
        if axis @ parent_axis < 0:  # or the half that is next to the parent's other half would
            axis = -axis  # not be next to it in the list
        low = halve(inside, axis, int(ends[middle] - ends[first]), HALVING_STEPS)
        nodes.append((middle, last, rows[~low], axis))
        nodes.append((first, middle, rows[low], axis))
    return clusters


def halve(vectors: Vectors, axis: Vectors, n_low: int, steps: int) -> NDArray[np.bool_]:
    """Which `n_low` vectors form the low half of a 2-means with halves of fixed size.

    For two given centres the best halves of given sizes follow from sorting along the line that
    joins them, so no step raises the inertia. Ties go by index.

    Args:
        vectors: float32, shape (n, d).
        axis: float32, shape (d,), from the low centre to the high one.
        n_low: Size of the low half, from 1 to n - 1.
        steps: How often to sort at most; fewer when the halves are stable.

    Returns:
        bool, shape (n,), True in the low half.
    """
    total = vectors.sum(axis=0)
    n_high = len(vectors) - n_low
    low = np.zeros(len(vectors), np.bool_)
    for _ in range(steps):
        before = low
        low = np.zeros(len(vectors), np.bool_)
        low[np.argsort(vectors @ axis, kind="stable")[:n_low]] = True
        if np.array_equal(low, before):
            break
        low_total = low.astype(np.float32) @ vectors
        axis = (total - low_total) / n_high - low_total / n_low
    return low


def _principal_axis(vectors: Vectors, rng: np.random.Generator) -> Vectors:
    """About the direction in which the vectors differ most; float32, shape (d,)."""
    axis: Vectors = rng.standard_normal(vectors.shape[1:], np.float32)
    for _ in range(POWER_STEPS):
        scores = vectors @ axis
        axis = (scores - scores.mean()) @ vectors
        axis /= np.maximum(np.linalg.norm(axis), np.finfo(np.float32).tiny)
    return axis
