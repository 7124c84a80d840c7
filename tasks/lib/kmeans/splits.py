"""Make any number of equal-size clusters by splitting the records into ever smaller parts."""

import numpy as np
from numpy.random import RandomState

from tasks.lib.kmeans.assign_rows import Bounds
from tasks.lib.kmeans.lloyd import first_centres, lloyd
from tasks.lib.kmeans.partition import Rows, Vectors, rows_of

MAX_ITER = 300


def split(
    vectors: Vectors, n_clusters: int, rng: RandomState, *, branches: int, tol: float
) -> list[Rows]:
    """Return clusters whose sizes differ by at most 1; neighbours in the list are similar.

    Balanced k-means splits each node of a tree into at most `branches` parts, until each part is
    one cluster. All parts of a node contain the records of about the same number of clusters.
    The time grows with n log(n_clusters); the memory is that of balanced k-means with `branches`
    clusters.

    Args:
        vectors: float32, shape (n, d).
        n_clusters: From 1 to n.
        rng: The source of the first centres.
        branches: At least 2.
        tol: A node's iteration stops when it lowers the inertia by no more than this share.

    Returns:
        The rows of `vectors` in each cluster; every row is in exactly one cluster.
    """
    floor, n_more = divmod(len(vectors), n_clusters)
    ceiling = floor + bool(n_more)
    clusters: list[Rows] = []
    end = vectors[0]  # the centre of the last cluster in the list
    nodes = [(n_clusters, np.arange(len(vectors)))]
    while nodes:
        n_inside, rows = nodes.pop()
        inside = vectors if len(rows) == len(vectors) else vectors[rows]
        if n_inside == 1:
            clusters.append(rows)
            end = inside.mean(axis=0)
            continue
        part_sizes = _shares(n_inside, branches)
        centres = first_centres(inside, len(part_sizes), rng)
        bounds = Bounds(floor * part_sizes, ceiling * part_sizes)
        result = lloyd(inside, centres, bounds, max_iter=MAX_ITER, tol=tol)
        parts = rows_of(result.labels, len(part_sizes))
        nodes += [(part_sizes[j], rows[parts[j]]) for j in reversed(chain(result.centres, end))]
    return clusters


def _shares(n_clusters: int, branches: int) -> Rows:
    """Return the number of clusters in each part, with similar numbers of parts on all levels."""
    n_levels = 1
    while branches**n_levels < n_clusters:
        n_levels += 1
    n_parts = 2
    while n_parts**n_levels < n_clusters:
        n_parts += 1
    return n_clusters // n_parts + (np.arange(n_parts) < n_clusters % n_parts).astype(np.intp)


def chain(centres: Vectors, start: Vectors) -> list[int]:
    """Order the centres so that each is the nearest remaining one to its predecessor."""
    left, order = list(range(len(centres))), []
    while left:
        distances = ((centres[left] - start) ** 2).sum(axis=1)
        order.append(left.pop(int(distances.argmin())))
        start = centres[order[-1]]
    return order
