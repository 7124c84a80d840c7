"""Equal-size k-means: alike records together, in clusters whose sizes differ by at most 1."""

import numpy as np
from k_means_constrained import KMeansConstrained
from threadpoolctl import threadpool_limits

from tasks.grouping.partition import Partition, Rows, Solver, Vectors, equal_sizes, inertia
from tasks.grouping.refine import refine
from tasks.grouping.splits import split


def equal_size_kmeans(vectors: Vectors, n_clusters: int, seed: int, exact_below: int) -> Partition:
    """Clusters of equal size and low inertia, neighbouring cluster numbers being alike.

    Clusters start from balanced splits, and then exchange records. For few enough vectors
    k-means under size limits is run as well, each of its assignments being the best one for its
    centres; its clusters exchange records too, and the better of the two results is taken.

    The same vectors and seed give the same clusters whatever the number of threads, since all is
    computed on one: a sum's last bits depend on how it is shared out.

    Args:
        vectors: float32, shape (n, d), finite, n at least 1; may be read-only.
        n_clusters: From 1 to n.
        seed: Of the starting points, from 0 to 2**32 - 1.
        exact_below: Vectors times clusters up to which the exact solver is run as well.
    """
    is_small = len(vectors) * n_clusters <= exact_below
    with threadpool_limits(1):
        clusters = refine(vectors, split(vectors, equal_sizes(len(vectors), n_clusters), seed))
        found = [clusters]
        if is_small:
            found.append(
                refine(vectors, _alike_in_order(_exact(vectors, n_clusters, seed), clusters))
            )
        lowest, clusters = min(((inertia(vectors, c), c) for c in found), key=lambda pair: pair[0])
    return Partition(clusters, lowest, Solver.EXACT if is_small else Solver.SPLITS)


def _exact(vectors: Vectors, n_clusters: int, seed: int) -> list[Rows]:
    """Clusters by k-means whose every assignment is a minimum-cost flow under the size limits."""
    n_floor, n_more = divmod(len(vectors), n_clusters)
    solver = KMeansConstrained(
        n_clusters,
        size_min=n_floor,
        size_max=n_floor + bool(n_more),
        n_init=1,
        random_state=seed,
    )
    labels = solver.fit(np.array(vectors)).labels_  # a copy, since it fails on read-only arrays
    return [np.flatnonzero(labels == c) for c in range(n_clusters)]


def _alike_in_order(clusters: list[Rows], model: list[Rows]) -> list[Rows]:
    """The larger clusters first, and then in the order in which their rows stand in `model`."""
    places = np.argsort(np.concatenate(model))
    return sorted(clusters, key=lambda rows: (-len(rows), places[rows].mean()))
