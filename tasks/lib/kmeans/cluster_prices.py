"""Find prices at which each cluster is the cheapest for nearly the right number of rows.

The prices maximise a concave function, the dual of the transport problem. Its gradient is the
number of excess rows in each cluster. Its curvature is the density of rows on the borders between
clusters, that is, of the rows that change sides as a price rises. Kitagawa, Mérigot and Thibert use
damped Newton steps for semi-discrete transport (Convergence of a Newton algorithm for semi-discrete
optimal transport, J. Eur. Math. Soc. 21, 2019); here the density is measured.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.lib.kmeans.partition import in_blocks

Labels = NDArray[np.int32]
Costs = NDArray[np.float32]
Sizes = NDArray[np.intp]
Floats = NDArray[np.float64]

STEPS = 50  # 3 to 5 are usual, or 15 from bad prices
SHARES = (1, 1 / 4, 1 / 16, 1 / 64)  # the parts of a step to try, in case it overshoots
GAIN = 1e-2  # share of the predicted gain; a step that gains less overshoots
BORDER = 4  # rows used to measure the density on borders, per row that has to move
STIFFNESS = 1e-3  # share of the mean curvature, added so that clusters without borders stay finite


class Priced(NamedTuple):
    """The cheapest cluster of each row, the extra cost of the next cheapest, and the prices."""

    labels: Labels
    gaps: Costs
    prices: Costs


class _State(NamedTuple):
    prices: Costs
    labels: Labels
    seconds: Labels
    gaps: Costs
    excess: Floats
    n_left: float
    value: float


def balance(costs: Costs, sizes: Floats, prices: Costs) -> Priced:
    """Return prices that put at most about k + n / 4000 rows in the wrong cluster.

    If many rows are equal, more may be in the wrong cluster.

    Args:
        costs: float32, shape (n, k).
        sizes: The number of rows that each cluster should have, shape (k,); the sum is n.
        prices: The starting prices, float32, shape (k,).
    """
    state = _priced(costs, sizes, prices)
    enough = len(prices) + len(costs) // 4_000  # from here on, shortest paths are quicker
    for _ in range(STEPS):
        if state.n_left <= enough:
            break
        step = _newton_step(state)
        for share in SHARES:
            candidate = _priced(costs, sizes, (state.prices + share * step).astype(np.float32))
            if candidate.value - state.value > GAIN * share * (state.excess @ step):
                break
        else:
            break
        state = candidate
    return Priced(state.labels, state.gaps, state.prices)


def _newton_step(state: _State) -> Floats:
    """Return how much each price should rise, shape (k,); all zero if all gaps are zero."""
    k = len(state.prices)
    n_near = min(int(BORDER * state.n_left) + k, len(state.gaps) - 1)
    width = np.partition(state.gaps, n_near)[n_near]
    near = state.gaps < width
    if not near.any():
        return np.zeros(k)
    pairs = state.labels[near].astype(np.intp) * k + state.seconds[near]
    density = np.bincount(pairs, minlength=k * k).reshape(k, k) / (2.0 * width)
    density += density.T
    curvature = np.diag(density.sum(axis=1)) - density
    curvature += np.eye(k) * (STIFFNESS * curvature.trace() / k)
    limit = state.gaps.max()  # a larger rise would take every row from a cluster
    return np.linalg.solve(curvature, state.excess).clip(-limit, limit)


def _priced(costs: Costs, sizes: Floats, prices: Costs) -> _State:
    """Find the cheapest cluster of each row at the given prices."""
    labels = np.empty(len(costs), np.int32)
    seconds, gaps = np.empty_like(labels), np.empty(len(costs), np.float32)

    def price(block: slice) -> float:
        priced = costs[block] + prices
        rows = np.arange(len(priced))
        labels[block] = best = priced.argmin(axis=1)
        least = priced[rows, best]
        priced[rows, best] = np.inf
        seconds[block] = second = priced.argmin(axis=1)
        gaps[block] = priced[rows, second] - least
        return float(least.sum(dtype=np.float64))

    leasts = in_blocks(price, len(costs))
    excess = np.bincount(labels, minlength=len(prices)) - sizes
    value = sum(leasts) - float(prices @ sizes)
    return _State(prices, labels, seconds, gaps, excess, float(excess.clip(0).sum()), value)
