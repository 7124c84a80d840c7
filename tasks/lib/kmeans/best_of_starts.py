"""Run what all equal-size k-means solvers share: starts, exchanges, and the final order."""

from collections.abc import Callable

import numpy as np
from numpy.random import RandomState
from threadpoolctl import threadpool_limits

from tasks.lib.kmeans.partition import Partition, Rows, Solver, Vectors, inertia
from tasks.lib.kmeans.refine import SMALL, refine

STARTS = 5  # the best is kept; larger problems get a single start
QUICK = 20_000  # vectors times clusters; a start of our own solver then takes about 0.05 s

Find = Callable[[RandomState], list[Rows]]


def best_of_starts(
    vectors: Vectors, n_clusters: int, seed: int, find: Find, solver: Solver
) -> Partition:
    """Return the clusters of the best start, the larger ones first.

    At the end of each start, small clusters exchange records, since k-means ignores the fact
    that their centres move with every record. Small problems get several starts. Everything runs
    under threadpool_limits(1).

    Args:
        vectors: float32, shape (n, d), finite, n at least 1.
        n_clusters: From 1 to n.
        seed: The seed for all starts.
        find: Returns the rows of each cluster; the sizes differ by at most 1.
        solver: The solver behind `find`.
    """
    rng = np.random.RandomState(seed)
    best, lowest = [], np.inf
    with threadpool_limits(1):
        for _ in range(STARTS if len(vectors) * n_clusters <= QUICK else 1):
            clusters = find(rng)
            if len(vectors) <= SMALL * n_clusters:
                clusters = refine(vectors, clusters, rng)
            of_start = inertia(vectors, clusters)
            if of_start < lowest:
                best, lowest = clusters, of_start
    best.sort(key=len, reverse=True)
    return Partition(best, lowest, solver)
