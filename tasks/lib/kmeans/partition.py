"""Define the clusters that every solver returns, and process blocks of rows in parallel."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.intp]
Vectors = NDArray[np.float32]
Result = TypeVar("Result")

BLOCK = 8_192  # rows processed at a time


class Solver(StrEnum):
    """The methods for finding clusters of equal size."""

    K_MEANS_CONSTRAINED = "k_means_constrained"
    """The k-means-constrained package."""
    BALANCED = "balanced"
    """Our own balanced k-means, for all clusters at once."""
    BALANCED_TREE = "balanced_tree"
    """Our own balanced k-means, splitting repeatedly, for many clusters."""
    ROUND_ROBIN = "round_robin"
    """The paper's Algorithm 2."""


@dataclass(frozen=True)
class Partition:
    """Clusters whose sizes differ by at most 1, the larger ones first.

    Attributes:
        clusters: For each cluster, the rows of its vectors; every row is in exactly one cluster.
        inertia: Sum of the squared distances from the vectors to their cluster's mean.
        solver: The solver that found the clusters.
        reason: Why this solver ran; empty if there was no choice.
    """

    clusters: list[Rows]
    inertia: float
    solver: Solver
    reason: str = ""

    @property
    def labels(self) -> NDArray[np.int32]:
        """The cluster of each vector, numbered from 0: int32, shape (n,)."""
        sizes = [len(rows) for rows in self.clusters]
        labels = np.empty(sum(sizes), np.int32)
        labels[np.concatenate(self.clusters)] = np.repeat(np.arange(len(sizes)), sizes)
        return labels


def rows_of(labels: NDArray[np.integer], n_clusters: int) -> list[Rows]:
    """Return the rows of each cluster, in ascending order."""
    sizes = np.bincount(labels, minlength=n_clusters)
    return np.split(np.argsort(labels, kind="stable"), np.cumsum(sizes)[:-1])


def inertia(vectors: Vectors, clusters: list[Rows]) -> float:
    """Return the sum of the squared distances from the vectors to their cluster's mean."""
    total = 0.0
    for rows in clusters:
        parts = np.array_split(rows, -(-len(rows) // BLOCK))
        mean = sum(vectors[part].sum(axis=0, dtype=np.float64) for part in parts) / len(rows)
        for part in parts:
            inside = vectors[part] - mean
            total += float(np.einsum("nd,nd->", inside, inside))
    return total


def in_blocks(work: Callable[[slice], Result], n: int) -> list[Result]:
    """Call `work` on blocks of rows, on all cores; return the results in the order of the blocks.

    The blocks do not depend on the number of cores. Neither do the results, if each block is
    computed by one thread: call this under threadpool_limits(1).
    """
    blocks = [slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK)]
    if len(blocks) == 1:
        return [work(blocks[0])]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(work, blocks))
