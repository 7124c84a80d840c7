"""Find the cheapest assignment of rows to clusters of bounded sizes, for given costs.

This is a transport problem with few sinks. Its dual has a price for each cluster: every row goes
to the cluster with the lowest cost plus price, and the prices are right if the sizes then fit.
Newton's method finds prices that leave about one row per cluster in the wrong place
(cluster_prices.py). These rows move along shortest paths (shortest_paths.py), after which no
assignment is cheaper.
"""

from typing import NamedTuple

import numpy as np

from tasks.lib.kmeans.cluster_prices import Costs, Floats, Labels, Sizes, balance
from tasks.lib.kmeans.shortest_paths import Residual

MOVABLE = 32  # rows that may move for each row that must; with 8, many paths are not the shortest


class Bounds(NamedTuple):
    """The smallest and the largest size of each cluster, both of shape (k,)."""

    lower: Sizes
    upper: Sizes


class Assignment(NamedTuple):
    """The cluster of each row, int32 (n,), and prices that prove it optimal, float32 (k,)."""

    labels: Labels
    prices: Costs


def assign(costs: Costs, bounds: Bounds, prices: Costs) -> Assignment:
    """Return the assignment with the lowest total cost within the bounds.

    It is optimal up to the rounding of float32: no row has a lower cost plus price in another
    cluster, and the clusters above their smallest size are the most expensive ones. If several
    assignments are optimal, the same arguments always give the same one.

    Args:
        costs: float32, shape (n, k), finite.
        bounds: The lower bounds sum to at most n, and the upper bounds to at least n.
        prices: The starting prices, float32, shape (k,); those of a similar problem save time.
    """
    k = len(prices)
    target = _target_sizes(bounds, len(costs))
    labels, gaps, prices = balance(costs, target, prices)
    sizes = np.bincount(labels, minlength=k)
    n_movable = MOVABLE * (int(np.abs(sizes - target).sum()) + k)
    while True:
        rows, bound = _nearest_to_move(gaps, n_movable)
        fixed = sizes - np.bincount(labels[rows], minlength=k)
        residual = Residual(costs[rows], fixed, bounds, prices)
        if residual.settle(bound):
            labels[rows] = residual.labels
            return Assignment(labels, residual.prices())
        n_movable *= 4


def _target_sizes(bounds: Bounds, n: int) -> Floats:
    """Return sizes that sum to n, each at the same fraction of the way between its bounds."""
    room = bounds.upper - bounds.lower
    share = (n - int(bounds.lower.sum())) / max(int(room.sum()), 1)
    sizes: Floats = bounds.lower + share * room
    return sizes


def _nearest_to_move(gaps: Costs, n: int) -> tuple[Sizes, float]:
    """Return the `n` rows with the smallest gaps, and the lowest cost of moving any other row."""
    if n >= len(gaps):
        return np.arange(len(gaps)), np.inf
    rows = np.argpartition(gaps, n)[:n]
    return np.sort(rows), float(gaps[rows].max())
