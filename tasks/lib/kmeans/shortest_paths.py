"""Move the rows that prices leave in the wrong cluster, along shortest paths between clusters.

The graph has a node for each cluster, not for each row. Its edge from j to l is the cheapest move
of a row from j to l, so a path is a chain of rows, each of which takes the place of the next.
Moving rows along shortest paths, from clusters with too many rows to clusters with too few, keeps
the assignment the cheapest for its sizes (successive shortest paths: Ahuja, Magnanti and Orlin,
Network Flows, 1993, section 9.7).

One more node represents the spare places: those above `lower` in a cluster that may have from
`lower` to `upper` rows. The most expensive clusters get the spare places first. A path through that
node moves a spare place from one cluster to another, at the difference of the two prices.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tasks.lib.kmeans.assign_rows import Bounds
    from tasks.lib.kmeans.cluster_prices import Costs, Sizes

TINY = 1e-12  # share of the highest cost; two paths that differ by less count as equally long


class Residual:
    """Rows that may move, while all other rows stay in their clusters.

    Attributes:
        labels: intp, shape (m,), the cluster of each row.
    """

    def __init__(self, costs: Costs, fixed: Sizes, bounds: Bounds, prices: Costs) -> None:
        """Put each movable row into its cheapest cluster.

        Args:
            costs: The costs of the rows that may move, float32, shape (m, k).
            fixed: The number of other rows in each cluster, shape (k,).
            bounds: The bounds on the cluster sizes, counting all rows.
            prices: Prices at which every other row is in its cheapest cluster, float32, shape (k,).
        """
        self._prices = prices.astype(np.float64)
        self._costs = costs + self._prices
        self._tiny = TINY * float(np.abs(self._costs).max())
        self.labels = self._costs.argmin(axis=1)
        k = len(prices)
        n_spare = len(costs) + int(fixed.sum()) - int(bounds.lower.sum())
        self._room = bounds.upper - bounds.lower
        self._taken = _most_expensive_first(self._room, self._prices, n_spare)
        sizes = fixed + np.bincount(self.labels, minlength=k)
        self._surplus = sizes - bounds.lower - self._taken
        has_spare = self._taken > 0
        self._level = self._prices[has_spare].min() if n_spare else self._prices.max()
        self._moves = np.full((k + 1, k + 1), np.inf)
        for j in range(k):
            self._update(j)

    def settle(self, bound: float) -> bool:
        """Move rows until all sizes fit; return False if a shortest path exceeds `bound`."""
        while (self._surplus > 0).any():
            start = np.where(np.append(self._surplus > 0, False), 0, np.inf)
            distances, before = _shortest(start, self._moves, self._tiny)
            is_short = np.append(self._surplus < 0, False)
            sink = int(np.where(is_short, distances, np.inf).argmin())
            if not distances[sink] <= min(bound, np.finfo(np.float64).max):
                return False
            path = [sink]
            while before[path[-1]] >= 0:
                path.append(int(before[path[-1]]))
            self._push(path[::-1])
        return True

    def prices(self) -> Costs:
        """Return prices at which every row is in its cheapest cluster: float32, shape (k,)."""
        distances, _ = _shortest(np.zeros(len(self._moves)), self._moves, self._tiny)
        prices: Costs = (self._prices - distances[:-1]).astype(np.float32)
        return prices

    def _push(self, path: list[int]) -> None:
        """Move rows along the path: as many rows of equal cost as the sizes allow."""
        k = len(self._prices)
        n = min(self._surplus[path[0]], -self._surplus[path[-1]])
        movers = []
        for j, to in pairwise(path):
            if to == k:
                n = min(n, self._room[j] - self._taken[j])
            elif j == k:
                n = min(n, self._taken[to])
            else:
                rows = np.flatnonzero(self.labels == j)
                costs = self._costs[rows, to] - self._costs[rows, j]
                movers.append((rows[costs <= self._moves[j, to] + self._tiny], to))
                n = min(n, len(movers[-1][0]))
        for rows, to in movers:
            self.labels[rows[:n]] = to
        for j, to in pairwise(path):
            if to == k:
                self._taken[j] += n
            elif j == k:
                self._taken[to] -= n
        self._surplus[path[0]] -= n
        self._surplus[path[-1]] += n
        for j in path:
            if j < k:
                self._update(j)

    def _update(self, j: int) -> None:
        """Recompute the cheapest moves of rows and of spare places out of cluster j."""
        rows = np.flatnonzero(self.labels == j)
        own = self._costs[rows]
        self._moves[j, :-1] = (own - own[:, j, None]).min(axis=0, initial=np.inf)
        self._moves[j, j] = np.inf
        above = self._prices[j] - self._level
        self._moves[j, -1] = -above if self._taken[j] < self._room[j] else np.inf
        self._moves[-1, j] = above if self._taken[j] > 0 else np.inf


def _most_expensive_first(room: Sizes, prices: NDArray[np.float64], n: int) -> Sizes:
    """Divide `n` places among the clusters, at most `room` each, the most expensive first."""
    order = np.argsort(-prices, kind="stable")
    before = np.cumsum(room[order]) - room[order]
    taken = np.zeros_like(room)
    taken[order] = np.clip(n - before, 0, room[order])
    return taken


def _shortest(
    start: NDArray[np.float64], moves: NDArray[np.float64], tiny: float
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the distance to each node, and the node before it, or -1 at the start of a path.

    This is the Bellman-Ford algorithm: edges may be negative, but there is no negative cycle.
    """
    distances, before = start.copy(), np.full(len(start), -1)
    for _ in range(len(start)):
        lengths = distances[:, None] + moves
        nearest = lengths.argmin(axis=0)
        shortest = lengths[nearest, np.arange(len(start))]
        is_nearer = shortest < distances - tiny
        if not is_nearer.any():
            break
        distances[is_nearer] = shortest[is_nearer]
        before[is_nearer] = nearest[is_nearer]
    return distances, before
