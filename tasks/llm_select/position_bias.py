"""Measure whether a judge prefers certain slots.

This needs shuffled candidates, so that the slot of each is random, and one ballot per prompt:
several votes on the same candidates are not independent trials.

The test is Pearson's chi-square in the general form for trials that differ (Rao, *Linear
Statistical Inference*, 1973, 6b.2): here prompts of different sizes. With prompts of one size it
is the usual sum of (observed - expected)² / expected, with one degree of freedom fewer than there
are slots.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_EXPECTED = 5  # first choices in each cell of the test: Cochran's rule
DIGITS = 6  # of reported numbers; the last bits differ between processors

Floats = NDArray[np.float64]


class PositionBias:
    """Counts first choices by slot, prompt by prompt."""

    def __init__(self) -> None:
        self._first: Counter[int] = Counter()
        self._sizes: Counter[int] = Counter()

    def add(self, n_candidates: int, picks: Sequence[int]) -> None:
        """Count one prompt: its size, and the picked slots as they were shown, the best first.

        A prompt without picks, or with one candidate, is ignored.
        """
        if picks and n_candidates > 1:
            self._first[picks[0]] += 1
            self._sizes[n_candidates] += 1

    def summary(self) -> dict[str, Any]:
        """Return `SlotChoices`' fields except `is_shuffled`, with floats rounded to 6 digits."""
        n_prompts = self._sizes.total()
        n_slots = max(self._sizes, default=0)
        observed = np.array([self._first[slot] for slot in range(1, n_slots + 1)], dtype=float)
        expected, covariance = _by_chance(self._sizes, n_slots)
        chi_square, df = _chi_square(observed, expected, covariance)
        p_value = _tail(chi_square, df) if df else None
        deviations = np.sqrt(2 / math.pi * covariance.diagonal())
        return {
            "n_prompts": n_prompts,
            "observed": [int(n) for n in observed],
            "expected": [round(float(n), DIGITS) for n in expected],
            "position_bias": _share(np.abs(observed - expected).sum(), n_prompts),
            "position_bias_by_chance": _share(deviations.sum(), n_prompts),
            "chi_square": round(chi_square, DIGITS) if df else None,
            "df": df or None,
            "p_value": p_value,
        }


def _tail(chi_square: float, df: int) -> float:
    """Return the probability of a chi-square at least as large, rounded."""
    from scipy.special import chdtrc  # noqa: PLC0415  a second less than scipy.stats

    return round(float(chdtrc(df, chi_square)), DIGITS)


def _by_chance(sizes: Counter[int], n_slots: int) -> tuple[Floats, Floats]:
    """Return the mean and covariance of first choices by slot for a judge that ignores slots.

    Args:
        sizes: Number of prompts of each size.
        n_slots: The largest size.

    Returns:
        float64, shape (n_slots,), and float64, shape (n_slots, n_slots).
    """
    mean, covariance = np.zeros(n_slots), np.zeros((n_slots, n_slots))
    for size, n_prompts in sizes.items():
        mean[:size] += n_prompts / size
        covariance[:size, :size] += n_prompts * (np.eye(size) / size - 1 / size**2)
    return mean, covariance


def _chi_square(observed: Floats, mean: Floats, covariance: Floats) -> tuple[float, int]:
    """Return the statistic and its degrees of freedom, which are 0 if no test is possible.

    The last slots, which few prompts may have, are combined until `MIN_EXPECTED` choices are
    expected in them.
    """
    from_last = np.cumsum(mean[::-1])
    n_last = int(np.searchsorted(from_last, MIN_EXPECTED)) + 1
    n_cells = len(mean) - n_last + 1
    if n_cells < 2:
        return 0.0, 0
    cells = np.zeros((n_cells, len(mean)))
    cells[np.minimum(np.arange(len(mean)), n_cells - 1), np.arange(len(mean))] = 1
    # The last cell is excluded: the choices sum to the number of prompts, so it adds nothing.
    gap = (cells @ (observed - mean))[:-1]
    spread = (cells @ covariance @ cells.T)[:-1, :-1]
    return float(gap @ np.linalg.solve(spread, gap)), n_cells - 1


def _share(distance: float, n_prompts: int) -> float | None:
    """Return half the distance per prompt; None if there are no prompts."""
    return round(float(distance) / 2 / n_prompts, DIGITS) if n_prompts else None
