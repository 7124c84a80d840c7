"""Choices that follow the density of the vectors: clusters of free size."""

import warnings

import numpy as np
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning

from tasks.choosers.by_vector import farthest_first
from tasks.likeness.cosines import Rows, Vectors, nearest, unit

MIN_CLUSTER, MIN_SAMPLES = 2, 1  # as in the paper's code
DENSITY_DIMS = 32  # density means little in hundreds of dimensions, and trees find nothing there
MAX_ITERATIONS = 50  # of k-means; later ones move hardly any record


def cluster_based(vectors: Vectors, budget: int, seed: int) -> Rows:
    """Cluster-based selection: HDBSCAN, noise set aside, then k-center from the centroids.

    The first is the record farthest from every centroid. Noise is taken only when all else is
    taken. Time grows with the square of the records.
    """
    dims = min(DENSITY_DIMS, *vectors.shape)
    reduced = PCA(dims, random_state=seed).fit_transform(vectors)
    labels = HDBSCAN(MIN_CLUSTER, min_samples=MIN_SAMPLES, copy=True).fit(reduced).labels_
    is_noise = labels < 0
    gaps = np.ones(len(vectors), np.float32)
    if not is_noise.all():
        centroids = np.zeros((labels.max() + 1, vectors.shape[1]), np.float32)
        np.add.at(centroids, labels[~is_noise], vectors[~is_noise])
        gaps = np.maximum(1 - nearest(vectors, unit(centroids)).cosines, 0).astype(np.float32)
    n_first = min(budget, int((~is_noise).sum()))
    rows = farthest_first(vectors, np.where(is_noise, np.float32(-1), gaps), n_first)
    if n_first == budget:
        return rows
    if n_first:
        gaps = np.maximum(1 - nearest(vectors, vectors[rows]).cosines, 0).astype(np.float32)
    rest = farthest_first(vectors, np.where(is_noise, gaps, np.float32(-1)), budget - n_first)
    return np.concatenate([rows, rest])


def medoids(vectors: Vectors, budget: int, seed: int) -> Rows:
    """The record nearest to the centre of each of `budget` k-means clusters, larger ones first.

    Where some vectors are equal there may be fewer clusters; then others are drawn by lot.
    """
    model = KMeans(budget, n_init=1, max_iter=MAX_ITERATIONS, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct vectors than clusters
        labels = model.fit(vectors).labels_
    offsets = vectors - model.cluster_centers_[labels]
    gaps = np.einsum("nd,nd->n", offsets, offsets)
    order = np.lexsort((gaps, labels))  # by cluster, the nearest to its centre first
    found, firsts, sizes = np.unique(labels[order], return_index=True, return_counts=True)
    rows = order[firsts[np.lexsort((found, -sizes))]]
    drawn = np.random.default_rng(seed).permutation(len(vectors))
    return np.concatenate([rows, drawn[~np.isin(drawn, rows)]])[:budget]
