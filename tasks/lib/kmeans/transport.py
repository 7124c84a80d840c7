"""The cheapest way to share out rows among clusters of bounded sizes, for given costs.

This is a transport problem with few sinks. Its dual has a price for each cluster: every row goes
where cost plus price is least, and the prices are right when that fills the clusters as wanted.
Newton's method finds them but for about a row a cluster (prices.py), and what is left over moves
along shortest paths (residual.py), after which no assignment is cheaper.
"""

from typing import NamedTuple

import numpy as np

from tasks.lib.kmeans.prices import Costs, Floats, Labels, Sizes, balance
from tasks.lib.kmeans.residual import Residual

MOVABLE = 32  # rows that may move for each one that has to; with 8, paths are often not the best


class Bounds(NamedTuple):
    """Least and greatest size of each cluster, each of shape (k,)."""

    lower: Sizes
    upper: Sizes


class Assignment(NamedTuple):
    """The cluster of each row, int32 (n,), and the prices that prove it best, float32 (k,)."""

    labels: Labels
    prices: Costs


def assign(costs: Costs, bounds: Bounds, prices: Costs) -> Assignment:
    """The assignment of least total cost within the bounds.

    It is optimal up to the rounding of float32: no row finds cost plus price less in another
    cluster, and the clusters with more than their least size are the dearest ones. Of assignments
    that cost the same it is always the same one.

    Args:
        costs: float32, shape (n, k), finite.
        bounds: Of which the lower ones sum to n at most, and the upper ones to n at least.
        prices: float32, shape (k,), where to start; those of a similar problem save time.
    """
    k = len(prices)
    wanted = _wanted(bounds, len(costs))
    labels, gaps, prices = balance(costs, wanted, prices)
    sizes = np.bincount(labels, minlength=k)
    n_movable = MOVABLE * (int(np.abs(sizes - wanted).sum()) + k)
    while True:
        rows, bound = _nearest_to_move(gaps, n_movable)
        fixed = sizes - np.bincount(labels[rows], minlength=k)
        residual = Residual(costs[rows], fixed, bounds, prices)
        if residual.settle(bound):
            labels[rows] = residual.labels
            return Assignment(labels, residual.prices())
        n_movable *= 4


def _wanted(bounds: Bounds, n: int) -> Floats:
    """Sizes within the bounds that sum to n, as far above the lower ones everywhere."""
    room = bounds.upper - bounds.lower
    share = (n - int(bounds.lower.sum())) / max(int(room.sum()), 1)
    wanted: Floats = bounds.lower + share * room
    return wanted


def _nearest_to_move(gaps: Costs, n: int) -> tuple[Sizes, float]:
    """The `n` rows with the least gaps, and what it costs at least to move any other."""
    if n >= len(gaps):
        return np.arange(len(gaps)), np.inf
    rows = np.argpartition(gaps, n)[:n]
    return np.sort(rows), float(gaps[rows].max())
