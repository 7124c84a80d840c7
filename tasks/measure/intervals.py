"""Define the figures of a selection, and compute their confidence intervals."""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
RESAMPLES_AT_ONCE = 64
TIE = 1e-6  # the last digits of a sum in float32 vary between processors
Values = NDArray[np.float64]


class Mean(NamedTuple):
    """The mean of one value per record."""

    values: Values

    @property
    def value(self) -> float:
        """Return the figure."""
        return float(self.values.mean())


class Quantile(NamedTuple):
    """The smallest value that at least a given share of the records do not exceed."""

    values: Values
    share: float

    @property
    def value(self) -> float:
        """Return the figure."""
        return float(np.quantile(self.values, self.share, method="inverted_cdf"))


class Whole(NamedTuple):
    """A figure of a selection as a whole, for which resampling records would be misleading."""

    value: float


Figure = Mean | Quantile | Whole


class Interval(NamedTuple):
    """A confidence interval at LEVEL."""

    low: float
    high: float


class Bootstrap:
    """Computes percentile intervals from resampled records, always with the same resamples."""

    def __init__(self, n_resamples: int, seed: int) -> None:
        self._n_resamples, self._seed = n_resamples, seed
        self._counts = cache(self._draw)

    def interval(self, figure: Figure) -> Interval | None:
        """Return the interval of a figure over resampled records; None for a `Whole`."""
        if isinstance(figure, Whole):
            return None
        counts = self._counts(len(figure.values))
        starts = range(0, len(counts), RESAMPLES_AT_ONCE)
        parts = (counts[start : start + RESAMPLES_AT_ONCE] for start in starts)
        return percentiles(np.concatenate([_resampled(figure, part) for part in parts]))

    def _draw(self, n: int) -> NDArray[np.uint8]:
        """Return how often each record is in each resample: uint8, shape (n_resamples, n)."""
        rng = np.random.default_rng(self._seed)
        counts = np.empty((self._n_resamples, n), np.uint8)
        for row in counts:
            row[:] = np.bincount(rng.integers(0, n, n), minlength=n)
        return counts


def percentiles(values: Values) -> Interval:
    """Return the interval that contains the middle share LEVEL of the values, by interpolation."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def p_random(value: float, random_values: Values, *, lower_is_better: bool) -> float:
    """Return the p-value of a figure, from its rank among the figures of random selections.

    As in a permutation test, it is (1 + number as good or better) / (1 + number of selections).
    With 20 random selections, it is at least 1/21. Figures closer than TIE count as equal.
    """
    ahead = value - random_values if lower_is_better else random_values - value
    as_good = ahead >= -TIE
    return (1 + int(as_good.sum())) / (1 + len(random_values))


def _resampled(figure: Mean | Quantile, counts: NDArray[np.uint8]) -> Values:
    """Return the figure in each resample."""
    n = counts.shape[1]
    if isinstance(figure, Mean):
        means: Values = counts.astype(np.float64) @ figure.values / n
        return means
    order = np.argsort(figure.values, kind="stable")
    reached = counts[:, order].cumsum(axis=1, dtype=np.int64) >= np.ceil(figure.share * n)
    quantiles: Values = figure.values[order[reached.argmax(axis=1)]]
    return quantiles
