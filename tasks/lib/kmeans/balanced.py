"""Equal-size k-means: similar records together, in clusters whose sizes differ by at most 1."""

from functools import partial

from tasks.lib.kmeans.best_of_starts import best_of_starts
from tasks.lib.kmeans.lloyd import needed_mb
from tasks.lib.kmeans.partition import Partition, Solver, Vectors
from tasks.lib.kmeans.splits import split

FLAT = 200  # clusters found at once; with more, paths between clusters take longer than splits
BRANCHES = 40  # per split; fewer make the clusters less tight, more take longer
FLAT_TOL, TREE_TOL = 1e-5, 1e-3  # in a tree, 1e-4 gains nothing


def equal_size_kmeans(vectors: Vectors, n_clusters: int, seed: int) -> Partition:
    """Return clusters of equal size and low inertia; those with neighbouring numbers are similar.

    Balanced k-means finds up to 200 clusters at once, and more by repeated splitting. Then small
    clusters exchange records (starts.py).

    The same vectors and seed give the same clusters on any number of threads. A single thread
    computes each block, since the last bits of a sum depend on how it is split.

    Args:
        vectors: float32, shape (n, d), finite, n at least 1; may be read-only.
        n_clusters: From 1 to n.
        seed: The seed for the starting points, from 0 to 2**32 - 1.
    """
    is_flat = n_clusters <= FLAT
    branches, tol = (n_clusters, FLAT_TOL) if is_flat else (BRANCHES, TREE_TOL)
    find = partial(split, vectors, n_clusters, branches=branches, tol=tol)
    solver = Solver.BALANCED if is_flat else Solver.BALANCED_TREE
    return best_of_starts(vectors, n_clusters, seed, find, solver)


def memory_mb(n: int, n_clusters: int, d: int) -> int:
    """Return the memory that `equal_size_kmeans` needs in addition to n vectors of d numbers."""
    return needed_mb(n, n_clusters if n_clusters <= FLAT else BRANCHES, d)
