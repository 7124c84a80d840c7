"""Equal-size k-means: clusters whose sizes differ by at most 1."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.grouping.refine import refine
from tasks.grouping.splits import Rows, Vectors, split


@dataclass(frozen=True)
class Grouping:
    """Which cluster each record is in.

    Attributes:
        labels: int32, shape (n,), element i is the cluster of vector i, from 0. Cluster sizes
            differ by at most 1, and the larger clusters have the lower numbers.
        inertia: Sum of squared distances of the vectors to the mean of their cluster.
        solver: exact, splits or round_robin.
        order: intp, shape (n,), the vectors in the order in which they were given to clusters;
            plain file order unless the solver gave them one by one.
    """

    labels: NDArray[np.int32]
    inertia: float
    solver: str
    order: NDArray[np.intp]


def equal_size_kmeans(
    vectors: Vectors, n_clusters: int, seed: int, exact_below: int
) -> Grouping:
    """Clusters of alike vectors, neighbouring cluster numbers being alike too.

    Both solvers end with exchanges of records between clusters (see refine). Up to `exact_below`
    the exact one, in which each step of k-means assigns optimally under the size limits, is
    tried beside the splits, and the better result is taken. The same vectors and seed give the
    same clusters whatever the number of threads, since it computes on one.

    Args:
        vectors: float32, shape (n, d), finite, n at least 1; may be read-only.
        n_clusters: From 1 to n.
        seed: Of the starting points; below 2**32.
        exact_below: Number of vectors times clusters up to which the exact solver is used.
    """
    is_small = len(vectors) * n_clusters <= exact_below
    with one_thread():
        sizes = np.bincount(np.arange(len(vectors)) % n_clusters)
        best = refine(vectors, split(vectors, sizes, seed))
        lowest = inertia(vectors, best)
        if is_small:
            rival = refine(vectors, _exact(vectors, best, seed))
            if (inertia)
    labels = np.empty(len(vectors), np.int32)
