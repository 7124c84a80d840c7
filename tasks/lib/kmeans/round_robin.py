"""The paper's Algorithm 2: plain k-means, then equal-size clusters that choose rows in turn."""

import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from tasks.lib.kmeans.partition import Partition, Rows, Solver, Vectors, inertia

REASON = "cluster.mode is paper, which uses plain k-means and ignores cluster.solver"


def round_robin(vectors: Vectors, n_clusters: int, seed: int) -> Partition:
    """Return clusters of equal size, each with its rows in the order in which it took them.

    k-means runs once. Its centres stay fixed while the clusters take turns, so late turns get the
    leftover rows. The same vectors and seed give the same clusters on any number of threads, since
    a single thread computes everything.

    Args:
        vectors: float32, shape (n, d), finite, n at least 1; may be read-only.
        n_clusters: From 1 to n.
        seed: The seed for the first k-means centres, from 0 to 2**32 - 1.
    """
    with threadpool_limits(1), warnings.catch_warnings():
        # With fewer distinct vectors than clusters, some centres coincide, which does no harm.
        warnings.simplefilter("ignore", ConvergenceWarning)
        solver = KMeans(n_clusters, n_init=1, random_state=seed).fit(vectors)
        order = take_turns(vectors, solver.cluster_centers_)
        clusters = [order[c::n_clusters] for c in range(n_clusters)]
        return Partition(clusters, inertia(vectors, clusters), Solver.ROUND_ROBIN, REASON)


def take_turns(vectors: Vectors, centres: Vectors) -> Rows:
    """Return the rows of `vectors` in the order in which they are taken, shape (n,).

    In turn t, centre t mod k takes the nearest row that is left, or the first of equally near rows.
    Each centre walks once through its own sorted rows, so all turns take O(k n log n).

    Args:
        vectors: float32, shape (n, d).
        centres: float32, shape (k, d).
    """
    norms = np.einsum("nd,nd->n", vectors, vectors)
    queues = [
        iter(np.argsort(norms - 2 * vectors @ centre, kind="stable").data) for centre in centres
    ]
    is_taken = bytearray(len(vectors))
    order = np.empty(len(vectors), np.intp)
    for turn in range(len(vectors)):
        row = next(row for row in queues[turn % len(centres)] if not is_taken[row])
        is_taken[row] = True
        order[turn] = row
    return order
