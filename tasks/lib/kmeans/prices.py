"""Prices of clusters under which nearly as many rows as wanted find each one the cheapest.

They maximise a concave function, the dual of the transport problem, whose gradient is how many
rows too many each cluster has. Its curvature is the density of rows on the borders between
clusters: so many change sides as a price rises. Damped Newton steps with a measured density are
what Kitagawa, Mérigot and Thibert do for semi-discrete transport (Convergence of a Newton
algorithm for semi-discrete optimal transport, J. Eur. Math. Soc. 21, 2019).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.lib.kmeans.blocks import in_blocks

Labels = NDArray[np.int32]
Costs = NDArray[np.float32]
Sizes = NDArray[np.intp]
Floats = NDArray[np.float64]

BLOCK = 8_192  # rows priced at a time
STEPS = 50  # 3 to 5 are usual, and 15 from bad prices
SHARES = (1, 1 / 4, 1 / 16, 1 / 64)  # of a step that overshoots
GAIN = 1e-2  # of what a step promises, or it overshoots
BORDER = 4  # times as many rows as are to move tell the density on borders
STIFFNESS = 1e-3  # of the mean curvature, added to it: clusters without a border stay finite


class Priced(NamedTuple):
    """Cheapest cluster of each row, how much dearer its second one is, and the prices."""

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


def balance(costs: Costs, wanted: Floats, prices: Costs) -> Priced:
    """Prices that leave a row a cluster in the wrong one, and 1 in 4000; more if many are equal.

    Args:
        costs: float32, shape (n, k).
        wanted: How many rows each cluster shall have, shape (k,); their sum is n.
        prices: float32, shape (k,), where to start.
    """
    state = _priced(costs, wanted, prices)
    enough = len(prices) + len(costs) // 4_000  # from there on shortest paths are quicker
    for _ in range(STEPS):
        if state.n_left <= enough:
            break
        step = _newton_step(state)
        for share in SHARES:
            found = _priced(costs, wanted, (state.prices + share * step).astype(np.float32))
            if found.value - state.value > GAIN * share * (state.excess @ step):
                break
        else:
            break
        state = found
    return Priced(state.labels, state.gaps, state.prices)


def _newton_step(state: _State) -> Floats:
    """By how much prices shall rise, shape (k,); zero where all gaps are."""
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
    most = state.gaps.max()  # beyond, a cluster loses every row
    return np.linalg.solve(curvature, state.excess).clip(-most, most)


def _priced(costs: Costs, wanted: Floats, prices: Costs) -> _State:
    """Where rows go at these prices."""
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

    leasts = in_blocks(price, len(costs), BLOCK)
    excess = np.bincount(labels, minlength=len(prices)) - wanted
    value = sum(leasts) - float(prices @ wanted)
    return _State(prices, labels, seconds, gaps, excess, float(excess.clip(0).sum()), value)
