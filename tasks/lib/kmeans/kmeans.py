"""Balanced k-means with scikit-learn's interface."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data
from threadpoolctl import threadpool_limits

from tasks.lib.kmeans.lloyd import first_centres, lloyd, needed_mb
from tasks.lib.kmeans.partition import Vectors, inertia, rows_of
from tasks.lib.kmeans.transport import Bounds


class BalancedKMeans(ClusterMixin, BaseEstimator):  # type: ignore[misc]  # untyped
    """k-means whose clusters have equal sizes: they differ by at most 1, always.

    Every iteration assigns the rows at the least possible sum of squared distances to the centres
    (transport.py says how, and from whom), as a minimum-cost flow does (Bradley, Bennett and
    Demiriz, Constrained k-means clustering, Microsoft Research MSR-TR-2000-65). So inertia falls
    from one iteration to the next, down to a local minimum as in plain k-means.

    The same vectors and `random_state` give the same clusters on one machine, whatever the number
    of threads. Equal rows may part, since sizes leave no choice.

    Args:
        n_clusters: k, from 1 to the number of rows.
        init: ``k-means++``, or the first centres, shape (k, d).
        max_iter: Iterations at most, at least 1.
        tol: Ends when an iteration lowers the inertia by no more than this share of it.
        max_memory_mb: Most memory to take beside the vectors, if given as float32.
        random_state: Of the first centres: a seed, a RandomState, or None for another each time.

    Attributes:
        labels_: int32, shape (n,), the cluster of each row.
        cluster_centers_: float32, shape (k, d), the means of the clusters.
        inertia_: Sum of the squared distances of the rows to the mean of their cluster.
        n_iter_: Iterations done.
    """

    def __init__(  # noqa: PLR0913  its interface
        self,
        n_clusters: int = 8,
        *,
        init: str | ArrayLike = "k-means++",
        max_iter: int = 300,
        tol: float = 1e-5,
        max_memory_mb: float = 4096,
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.max_iter = max_iter
        self.tol = tol
        self.max_memory_mb = max_memory_mb
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: None = None) -> Self:  # noqa: N803  its interface
        """Find the clusters of the rows of `X`, shape (n, d).

        Raises:
            ValueError: `X` is no such array or holds a value that is not finite; a parameter is
                out of range; or `max_memory_mb` is too little, and how much is needed.
        """
        vectors = validate_data(self, X, dtype=np.float32, order="C")
        n, k = len(vectors), self.n_clusters
        if not 1 <= k <= n:
            raise ValueError(f"n_clusters={k} must be from 1 to the number of rows, {n}")
        if self.max_iter < 1 or self.tol < 0:
            raise ValueError("max_iter must be at least 1, and tol at least 0")
        needed = needed_mb(n, k, vectors.shape[1])
        if needed > self.max_memory_mb:
            raise ValueError(
                f"{n} rows in {k} clusters need {needed} MB beside the vectors, "
                f"and max_memory_mb={self.max_memory_mb}"
            )
        with threadpool_limits(1):
            bounds = Bounds(np.full(k, n // k), np.full(k, -(-n // k)))
            self.labels_, self.cluster_centers_, self.n_iter_ = lloyd(
                vectors, self._start(vectors), bounds, max_iter=self.max_iter, tol=self.tol
            )
            self.inertia_ = inertia(vectors, rows_of(self.labels_, k))
        return self

    def _start(self, vectors: Vectors) -> Vectors:
        """The first centres."""
        if isinstance(self.init, str):
            if self.init != "k-means++":
                raise ValueError(f"init must be k-means++ or an array of centres, not {self.init}")
            rng = check_random_state(self.random_state)
            return first_centres(vectors, self.n_clusters, rng)
        centres = np.asarray(self.init, np.float32)
        if centres.shape != (self.n_clusters, vectors.shape[1]) or not np.isfinite(centres).all():
            raise ValueError(
                f"init must hold {self.n_clusters} finite centres of {vectors.shape[1]} numbers, "
                f"not an array of shape {centres.shape}"
            )
        return centres
