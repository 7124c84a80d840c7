"""Equal-size k-means with the k-means-constrained package, behind the interface of balanced.py.

The package assigns all records at once, with a minimum-cost flow in OR-Tools over every pair of
record and cluster. So its time and memory grow with the product of records and clusters.
"""

import numpy as np
from k_means_constrained import KMeansConstrained
from numpy.random import RandomState

from tasks.lib.kmeans.assign_rows import Bounds
from tasks.lib.kmeans.balanced import FLAT, FLAT_TOL
from tasks.lib.kmeans.best_of_starts import best_of_starts
from tasks.lib.kmeans.lloyd import first_centres, lloyd, needed_mb
from tasks.lib.kmeans.partition import Partition, Rows, Solver, Vectors, rows_of
from tasks.lib.kmeans.splits import MAX_ITER, chain

TOL = 1e-4  # 1e-5 takes up to 3 times as long; our own last steps make up for the difference
BYTES_PER_PAIR = 150  # per record and cluster: arcs of the flow, and the arrays behind them


def equal_size_kmeans(vectors: Vectors, n_clusters: int, seed: int) -> Partition:
    """Return clusters of equal size and low inertia; those with neighbouring numbers are similar.

    The starting centres are those of `tasks.lib.kmeans.balanced.equal_size_kmeans`. The package
    minimises the sum of distances, whereas inertia is a sum of squares. So up to 200 clusters then
    go through our own iteration, which usually converges in two steps; for more clusters it would
    take too long. Finally, small clusters exchange records (starts.py).

    The same vectors and seed give the same clusters on any number of cores: the flow and all sums
    are computed by one thread, and nothing depends on timing.

    Args:
        vectors: float32, shape (n, d), finite, n at least 1, of about unit length, since distances
            are rounded to thousandths; may be read-only.
        n_clusters: From 1 to n.
        seed: The seed for the starting points, from 0 to 2**32 - 1.
    """

    def find(rng: RandomState) -> list[Rows]:
        return _clusters(vectors, first_centres(vectors, n_clusters, rng))

    return best_of_starts(vectors, n_clusters, seed, find, Solver.K_MEANS_CONSTRAINED)


def memory_mb(n: int, n_clusters: int, d: int) -> int:
    """Return the memory that `equal_size_kmeans` needs in addition to n vectors of d numbers."""
    # The flow also needs two copies of the vectors.
    flow = -(-(BYTES_PER_PAIR * n * n_clusters + 8 * n * d) // 10**6)
    return max(flow, needed_mb(n, n_clusters, d))


def _clusters(vectors: Vectors, centres: Vectors) -> list[Rows]:
    n, (k, d) = len(vectors), centres.shape
    floor, ceiling = n // k, -(-n // k)
    solver = KMeansConstrained(
        k,
        size_min=floor,
        size_max=ceiling,
        init=centres,
        n_init=1,
        # It stops when the centres move less than this, which lowers inertia by about TOL.
        tol=TOL * k * d,
        random_state=0,
        n_jobs=1,
    ).fit(vectors)
    labels, centres = solver.labels_, solver.cluster_centers_.astype(np.float32)
    if k <= FLAT:
        bounds = Bounds(np.full(k, floor), np.full(k, ceiling))
        labels, centres, _ = lloyd(vectors, centres, bounds, max_iter=MAX_ITER, tol=FLAT_TOL)
    rows = rows_of(labels, k)
    return [rows[c] for c in chain(centres, vectors[0])]
