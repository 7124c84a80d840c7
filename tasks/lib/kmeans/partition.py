"""What every solver returns: the records parted into clusters of equal size."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.intp]
Vectors = NDArray[np.float32]

BLOCK = 8_192  # vectors looked at at a time


class Solver(StrEnum):
    """How clusters of equal size were found."""

    K_MEANS_CONSTRAINED = "k_means_constrained"
    """By the package of that name."""
    BALANCED = "balanced"
    """By our own balanced k-means, all at once."""
    BALANCED_TREE = "balanced_tree"
    """By a tree of it, for many clusters."""
    ROUND_ROBIN = "round_robin"
    """By the paper's Algorithm 2."""


@dataclass(frozen=True)
class Partition:
    """Clusters whose sizes differ by at most 1, the larger ones first.

    Attributes:
        clusters: For each cluster the rows of its vectors; every row is in exactly one.
        inertia: Sum of the squared distances of the vectors to the mean of their cluster.
        solver: How they were found.
        reason: Why by this solver; empty where nobody chose one.
    """

    clusters: list[Rows]
    inertia: float
    solver: Solver
    reason: str = ""

    @property
    def labels(self) -> NDArray[np.int32]:
        """int32, shape (n,), element i is the cluster of vector i, from 0."""
        sizes = [len(rows) for rows in self.clusters]
        labels = np.empty(sum(sizes), np.int32)
        labels[np.concatenate(self.clusters)] = np.repeat(np.arange(len(sizes)), sizes)
        return labels


def rows_of(labels: NDArray[np.integer], n_clusters: int) -> list[Rows]:
    """The rows of each cluster, ascending."""
    sizes = np.bincount(labels, minlength=n_clusters)
    return np.split(np.argsort(labels, kind="stable"), np.cumsum(sizes)[:-1])


def inertia(vectors: Vectors, clusters: list[Rows]) -> float:
    """Sum of the squared distances of the vectors to the mean of their cluster."""
    total = 0.0
    for rows in clusters:
        parts = np.array_split(rows, -(-len(rows) // BLOCK))
        mean = sum(vectors[part].sum(axis=0, dtype=np.float64) for part in parts) / len(rows)
        for part in parts:
            inside = vectors[part] - mean
            total += float(np.einsum("nd,nd->", inside, inside))
    return total
