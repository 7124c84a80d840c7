"""Lower inertia of given clusters, whose sizes stay as they are."""

import numpy as np
from numpy.typing import NDArray

from tasks.grouping.partition import Rows, Vectors
from tasks.grouping.splits import halve

ROUNDS = 10
NEIGHBOURS = 15  # of a cluster; 10 leave 0.3 % more inertia, 20 take a third more time
SMALL = 256  # records; from there on one exchange at a time is slow and gains next to nothing
MIN_GAIN = 1e-5  # of squared distance; above float32's rounding, or exchanges could go round
BLOCK = 256  # rows of the centres' distance matrix at a time


def refine(vectors: Vectors, clusters: list[Rows]) -> list[Rows]:
    """Clusters of the same sizes, in the same places of the list, with no more inertia.

    Pairs of neighbouring clusters exchange records until no pair gains, or for 10 rounds.

    Args:
        vectors: float32, shape (n, d).
        clusters: The rows of each cluster, none empty.
    """
    clusters = list(clusters)
    centres = np.stack([vectors[rows].mean(axis=0) for rows in clusters])
    changed = np.ones(len(clusters), np.bool_)
    for _ in range(ROUNDS):
        stale, changed = changed, np.zeros(len(clusters), np.bool_)
        for pair in _neighbours(centres):
            if not (stale[pair].any() or changed[pair].any()):
                continue
            a, b = pair
            rows = np.concatenate([clusters[a], clusters[b]])
            low = _exchange(vectors[rows], len(clusters[a]), centres[b] - centres[a])
            if low[: len(clusters[a])].all():
                continue
            clusters[a], clusters[b] = rows[low], rows[~low]
            for c in pair:
                centres[c] = vectors[clusters[c]].mean(axis=0)
            changed[pair] = True
        if not changed.any():
            break
    return clusters


def _neighbours(centres: Vectors) -> NDArray[np.intp]:
    """Pairs of clusters, intp (n_pairs, 2), of which one is among the other's nearest."""
    n = len(centres)
    n_near = min(NEIGHBOURS, n - 1)
    if n_near == 0:
        return np.empty((0, 2), np.intp)
    squares = np.einsum("nd,nd->n", centres, centres)
    codes = []
    for start in range(0, n, BLOCK):
        block = np.arange(start, min(start + BLOCK, n))
        distances = squares - 2 * centres[block] @ centres.T
        distances[block - start, block] = np.inf
        near = np.argpartition(distances, n_near - 1, axis=1)[:, :n_near]
        own = block[:, None]
        codes.append((np.minimum(own, near) * n + np.maximum(own, near)).ravel())
    return np.stack(np.divmod(np.unique(np.concatenate(codes)), n), axis=1)


def _exchange(vectors: Vectors, n_low: int, axis: Vectors) -> NDArray[np.bool_]:
    """Which `n_low` vectors the first of two clusters shall have, bool (n,).

    The first `n_low` vectors are the first cluster now.
    """
    if len(vectors) > 2 * SMALL:
        return halve(vectors, axis, n_low, steps=2)
    return _swap(vectors @ vectors.T, n_low)


def _swap(gram: Vectors, n_low: int) -> NDArray[np.bool_]:
    """Best single exchanges of two records, one after the other, until none gains.

    Unlike sorting between two fixed centres, an exchange counts that the centres will move with
    the records, which in clusters of a dozen is most of the gain. It uses up `gram`, the products
    of all pairs of vectors.
    """
    n_high = len(gram) - n_low
    weight = np.float32(1 / n_low + 1 / n_high)
    towards_low = np.repeat([1 / n_low, -1 / n_high], [n_low, n_high]).astype(np.float32)
    places = np.arange(len(gram))  # an exchange swaps places, so the low ones always come first
    for _ in range(len(gram)):
        # x for y gains 2 (y - x)(low centre - high centre) + weight |x - y|^2
        pull, norms = 2 * gram @ towards_low, weight * gram.diagonal()
        gains = (pull + norms)[n_low:] - (pull - norms)[:n_low, None]
        gains -= 2 * weight * gram[:n_low, n_low:]
        x, y = divmod(int(gains.argmax()), n_high)
        if gains[x, y] <= MIN_GAIN:
            break
        here, there = [x, n_low + y], [n_low + y, x]
        gram[here] = gram[there]
        gram[:, here] = gram[:, there]
        places[here] = places[there]
    low = np.zeros(len(gram), np.bool_)
    low[places[:n_low]] = True
    return low
