"""Equal-size clusters in any number, by splitting the records into ever smaller parts."""

import numpy as np
from numpy.random import RandomState

from tasks.lib.kmeans.lloyd import first_centres, lloyd
from tasks.lib.kmeans.partition import Rows, Vectors, rows_of
from tasks.lib.kmeans.transport import Bounds

MAX_ITER = 300


def split(
    vectors: Vectors, n_clusters: int, rng: RandomState, *, branches: int, tol: float
) -> list[Rows]:
    """Clusters whose sizes differ by at most 1, neighbours in the list being alike.

    A tree: each of its nodes shares out its records among at most `branches` parts by balanced
    k-means, until a part is one cluster. All parts of one node hold about as many clusters, and
    each holds as many records as its clusters need. Time grows as n log(n_clusters), and memory
    is that of balanced k-means in so many parts.

    Args:
        vectors: float32, shape (n, d).
        n_clusters: From 1 to n.
        rng: Of first centres.
        branches: At least 2.
        tol: An iteration that lowers a node's inertia by no more than this share is its last.

    Returns:
        For each cluster the rows of `vectors` in it; every row is in exactly one.
    """
    floor, n_more = divmod(len(vectors), n_clusters)
    ceiling = floor + bool(n_more)
    clusters: list[Rows] = []
    here = vectors[0]  # where the list of clusters ends
    nodes = [(n_clusters, np.arange(len(vectors)))]
    while nodes:
        n_inside, rows = nodes.pop()
        inside = vectors if len(rows) == len(vectors) else vectors[rows]
        if n_inside == 1:
            clusters.append(rows)
            here = inside.mean(axis=0)
            continue
        n_each = _shares(n_inside, branches)
        centres = first_centres(inside, len(n_each), rng)
        bounds = Bounds(floor * n_each, ceiling * n_each)
        found = lloyd(inside, centres, bounds, max_iter=MAX_ITER, tol=tol)
        parts = rows_of(found.labels, len(n_each))
        nodes += [(n_each[j], rows[parts[j]]) for j in reversed(chain(found.centres, here))]
    return clusters


def _shares(n_clusters: int, branches: int) -> Rows:
    """How many clusters each part of a node holds, on all levels below about as many parts."""
    n_levels = 1
    while branches**n_levels < n_clusters:
        n_levels += 1
    n_parts = 2
    while n_parts**n_levels < n_clusters:
        n_parts += 1
    return n_clusters // n_parts + (np.arange(n_parts) < n_clusters % n_parts).astype(np.intp)


def chain(centres: Vectors, start: Vectors) -> list[int]:
    """All centres in an order in which each is the nearest to the one before, of those left."""
    left, order = list(range(len(centres))), []
    while left:
        distances = ((centres[left] - start) ** 2).sum(axis=1)
        order.append(left.pop(int(distances.argmin())))
        start = centres[order[-1]]
    return order
