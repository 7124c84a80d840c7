"""Figures of a selection, and how sure they are."""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
RESAMPLES_AT_ONCE = 64
Values = NDArray[np.float64]


class Mean(NamedTuple):
    """The mean of one value a record."""

    values: Values

    @property
    def value(self) -> float:
        """The figure."""
        return float(self.values.mean())


class Quantile(NamedTuple):
    """The least value that at least such a share of the records does not exceed."""

    values: Values
    share: float

    @property
    def value(self) -> float:
        """The figure."""
        return float(np.quantile(self.values, self.share, method="inverted_cdf"))


class Whole(NamedTuple):
    """A figure of a selection as a whole, for which resampled records would mislead."""

    value: float


Figure = Mean | Quantile | Whole


class Interval(NamedTuple):
    """Where a figure lies, at LEVEL."""

    low: float
    high: float


class Bootstrap:
    """Percentile intervals from resampled records, the same resamples for every figure."""

    def __init__(self, n_resamples: int, seed: int) -> None:
        self._n_resamples, self._seed = n_resamples, seed
        self._counts = cache(self._draw)

    def interval(self, figure: Figure) -> Interval | None:
        """Where the figure would lie had other records of the same kind been there.

        None for a figure of a selection as a whole.
        """
        if isinstance(figure, Whole):
            return None
        counts = self._counts(len(figure.values))
        found = np.concatenate(
            [
                _resampled(figure, counts[start : start + RESAMPLES_AT_ONCE])
                for start in range(0, len(counts), RESAMPLES_AT_ONCE)
            ]
        )
        return spread(found)

    def _draw(self, n: int) -> NDArray[np.uint8]:
        """How often each record is in each resample: uint8, shape (n_resamples, n)."""
        rng = np.random.default_rng(self._seed)
        counts = np.empty((self._n_resamples, n), np.uint8)
        for row in counts:
            row[:] = np.bincount(rng.integers(0, n, n), minlength=n)
        return counts


def spread(found: Values) -> Interval:
    """The middle LEVEL of some values, interpolated between them."""
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def p_random(value: float, by_chance: Values, *, lower_is_better: bool) -> float:
    """How often chance does as well: the rank of a value among those of random selections.

    A permutation test's p, (1 + as good or better) / (1 + number), so with 20 it is at least 1/21.
    """
    as_good = by_chance <= value if lower_is_better else by_chance >= value
    return (1 + int(as_good.sum())) / (1 + len(by_chance))


def _resampled(figure: Mean | Quantile, counts: NDArray[np.uint8]) -> Values:
    """The figure in each of some resamples."""
    n = counts.shape[1]
    if isinstance(figure, Mean):
        means: Values = counts.astype(np.float64) @ figure.values / n
        return means
    order = np.argsort(figure.values, kind="stable")
    reached = counts[:, order].cumsum(axis=1, dtype=np.int64) >= np.ceil(figure.share * n)
    quantiles: Values = figure.values[order[reached.argmax(axis=1)]]
    return quantiles
