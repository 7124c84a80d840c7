"""Exchange records between small clusters, which lowers inertia and keeps all sizes."""

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from tasks.lib.kmeans.partition import Rows, Vectors
from tasks.lib.kmeans.splits import split

SMALL = 256  # records per cluster; in larger clusters, single exchanges gain almost nothing
GROUP = 64  # clusters among which records are exchanged
PASSES = 2  # each with different groups; a third pass adds a third to the time and gains 0.3 %
ROUNDS, ROUNDS_ALONE = 2, 10  # for one of several groups, and for the only group
NEIGHBOURS = 8  # per cluster; 15 take twice the time and gain less than another pass
MIN_GAIN = 1e-5  # squared distance; above float32's rounding error, so that no exchange repeats


def refine(vectors: Vectors, clusters: list[Rows], rng: RandomState) -> list[Rows]:
    """Return clusters of the same sizes, in the same order, with the same or lower inertia.

    Similar clusters form groups. In a few rounds, pairs of neighbouring clusters in a group
    exchange records while that lowers inertia. The time grows with the number of clusters.

    Args:
        vectors: float32, shape (n, d).
        clusters: The rows of each cluster; none is empty or has many more than 256 rows.
        rng: The source of random groups.
    """
    clusters = list(clusters)
    if len(clusters) <= GROUP:
        return _refine_group(vectors, clusters, ROUNDS_ALONE)
    for _ in range(PASSES):
        centres = np.stack([vectors[rows].mean(axis=0) for rows in clusters])
        n_groups = -(-len(clusters) // GROUP)
        for group in split(centres, n_groups, rng, branches=40, tol=1e-2):
            refined = _refine_group(vectors, [clusters[c] for c in group], ROUNDS)
            for c, rows in zip(group, refined, strict=True):
                clusters[c] = rows
    return clusters


def _refine_group(vectors: Vectors, clusters: list[Rows], n_rounds: int) -> list[Rows]:
    """Exchange records between neighbours, round by round, until no pair gains."""
    centres = np.stack([vectors[rows].mean(axis=0) for rows in clusters])
    changed = np.ones(len(clusters), np.bool_)
    for _ in range(n_rounds):
        stale, changed = changed, np.zeros(len(clusters), np.bool_)
        for pair in _neighbours(centres):
            if not (stale[pair].any() or changed[pair].any()):
                continue
            a, b = pair
            n_low = len(clusters[a])
            rows = np.concatenate([clusters[a], clusters[b]])
            inside = vectors[rows]
            low = _swap(inside @ inside.T, n_low)
            if low[:n_low].all():
                continue
            clusters[a], clusters[b] = rows[low], rows[~low]
            for c in pair:
                centres[c] = vectors[clusters[c]].mean(axis=0)
            changed[pair] = True
        if not changed.any():
            break
    return clusters


def _neighbours(centres: Vectors) -> NDArray[np.intp]:
    """Return pairs of clusters that are near each other: intp, shape (n_pairs, 2)."""
    n = len(centres)
    n_near = min(NEIGHBOURS, n - 1)
    if n_near == 0:
        return np.empty((0, 2), np.intp)
    distances = np.einsum("nd,nd->n", centres, centres) - 2 * centres @ centres.T
    np.fill_diagonal(distances, np.inf)
    near = np.argpartition(distances, n_near - 1, axis=1)[:, :n_near]
    own = np.arange(n)[:, None]
    codes = np.minimum(own, near) * n + np.maximum(own, near)
    return np.stack(np.divmod(np.unique(codes), n), axis=1)


def _swap(gram: Vectors, n_low: int) -> NDArray[np.bool_]:
    """Exchange the best two records until no exchange gains; return which records end up low.

    Unlike sorting between two fixed centres, an exchange takes into account that the centres move
    with the records. In clusters of a dozen, that is most of the gain. `gram`, the products of all
    pairs of vectors, is overwritten.
    """
    n_high = len(gram) - n_low
    weight = np.float32(1 / n_low + 1 / n_high)
    towards_low = np.repeat([1 / n_low, -1 / n_high], [n_low, n_high]).astype(np.float32)
    places = np.arange(len(gram))  # an exchange swaps places, so low records always come first
    for _ in range(len(gram)):
        # Exchanging x for y gains 2 (y - x)(low centre - high centre) + weight |x - y|^2.
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
