"""Select by clusters of any size, found by density or by k-means."""

import warnings

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tasks.baseline.by_vector import farthest_first, k_center
from tasks.lib.similarity.cosine import Rows, Vectors, nearest, unit

MIN_CLUSTER, MIN_SAMPLES = 2, 1  # as in the paper's code
DENSITY_DIMS = 32  # in hundreds of dimensions, density means little and search trees do not help
MAX_ITERATIONS = 50  # of k-means; further ones hardly move a record


def cluster_based(vectors: Vectors, budget: int, seed: int) -> Rows:
    """Return a cluster-based selection: HDBSCAN, then k-center from the centroids, noise last.

    The first record is the one farthest from all centroids. Noise follows only after all other
    records. The time grows with the square of the number of records.
    """
    is_noise, centroids = _cluster(vectors, seed)
    if is_noise.all():
        return k_center(vectors, budget)
    gaps = np.where(is_noise, -1, _gaps(vectors, centroids))
    rows = farthest_first(vectors, gaps, min(budget, int((~is_noise).sum())))
    gaps = np.where(is_noise, _gaps(vectors, vectors[rows]), -1)
    return np.concatenate([rows, farthest_first(vectors, gaps, budget - len(rows))])


def _cluster(vectors: Vectors, seed: int) -> tuple[NDArray[np.bool_], Vectors]:
    """Return which records are noise, and the unit centroids of the clusters."""
    if len(vectors) <= MIN_CLUSTER:
        return np.ones(len(vectors), np.bool_), vectors[:0]
    from sklearn.cluster import HDBSCAN  # noqa: PLC0415  takes seconds
    from sklearn.decomposition import PCA  # noqa: PLC0415

    dims = min(DENSITY_DIMS, *vectors.shape)
    # One thread: the last bits of a sum depend on the number of threads. Identical vectors have
    # no variance.
    with threadpool_limits(1), np.errstate(invalid="ignore"):
        reduced = PCA(dims, random_state=seed).fit_transform(vectors)
        labels = HDBSCAN(MIN_CLUSTER, min_samples=MIN_SAMPLES, copy=True).fit_predict(reduced)
    is_noise = labels < 0
    centroids = np.zeros((labels.max() + 1, vectors.shape[1]), np.float32)
    np.add.at(centroids, labels[~is_noise], vectors[~is_noise])
    return is_noise, unit(centroids)


def _gaps(vectors: Vectors, others: Vectors) -> NDArray[np.float32]:
    """Return one minus the cosine between each vector and the nearest of the others."""
    return np.maximum(1 - nearest(vectors, others).cosines, 0).astype(np.float32)


def medoids(vectors: Vectors, budget: int, seed: int) -> Rows:
    """Return the record nearest to the centre of each of `budget` k-means clusters.

    Larger clusters come first. If vectors are identical, there may be fewer clusters; other
    records then follow in random order.
    """
    from sklearn.cluster import KMeans  # noqa: PLC0415  takes seconds
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415

    model = KMeans(budget, n_init=1, max_iter=MAX_ITERATIONS, random_state=seed)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct vectors than clusters
        labels = model.fit(vectors).labels_
    offsets = vectors - model.cluster_centers_[labels]
    gaps = np.einsum("nd,nd->n", offsets, offsets)
    order = np.lexsort((gaps, labels))  # by cluster, the nearest to its centre first
    clusters, firsts, sizes = np.unique(labels[order], return_index=True, return_counts=True)
    rows = order[firsts[np.lexsort((clusters, -sizes))]]
    shuffled = np.random.default_rng(seed).permutation(len(vectors))
    return np.concatenate([rows, shuffled[~np.isin(shuffled, rows)]])[:budget]
