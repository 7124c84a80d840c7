"""Estimate how many random records would do as well as the selection, and where to stop.

Random selections are drawn at many sizes, each a prefix of the next. Let E(n) be the mean figure of
random selections of size n. The equivalent of our selection is the n at which E(n) equals its
figure, interpolated in log n; outside the sizes drawn, it is only "more than" or "fewer than".

The interval contains the sizes around the equivalent at which our figure is within E(n) plus or
minus the larger of

- the spread of random selections: Student's t times their standard deviation times
  sqrt(1 + 1/r), the 95 % prediction interval for one more random selection (r were drawn). So if
  our selection were itself a random one of size n, the interval would contain n 95 % of the time;
- the uncertainty over records, if only some of them are questions: 1.96 times the root of
  (1 - m/M) s²/m + d²/r. Here s² is the variance, over the m questions from M records, of our
  figure minus the mean random figure, so s²/m is what a bootstrap over records gives; 1 - m/M is
  the correction for a finite pool; d is the standard deviation of random selections.

We take the larger, not the sum: the spread of random selections on the given questions already
includes most of the uncertainty about which questions were drawn.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.lib.documents.savings import Equivalent, Stop
from tasks.lib.similarity.cosine import Rows
from tasks.measure.intervals import LEVEL

N_DRAWN = 20  # random selections
STEPS_PER_DOUBLING = 4  # number of sizes of random selections
DOUBLINGS = (-3, 2)  # sizes from an eighth of ours to four times ours
MAX_STEP = 100  # records in a step of the stop rule; for a small selection, a tenth of it

Values = NDArray[np.float64]
Score = Callable[[Rows, Sequence[int]], Values]
"""A function that returns, for each prefix, the figure of each record: shape (sizes, records);
higher is better."""


class RandomCurve(NamedTuple):
    """The figures of random selections at each size.

    Attributes:
        sizes: Ascending.
        values: float64, shape (selections, sizes).
        by_record: float64, shape (sizes, records), means over the selections.
    """

    sizes: Sequence[int]
    values: Values
    by_record: Values


def curve_sizes(n_selected: int, n_records: int) -> list[int]:
    """Return the sizes of the random selections: the `steps`, and some around `n_selected`."""
    low, high = (STEPS_PER_DOUBLING * n for n in DOUBLINGS)
    around = [round(n_selected * 2 ** (k / STEPS_PER_DOUBLING)) for k in range(low, high + 1)]
    return sorted({min(max(n, 2), n_records) for n in [*around, *steps(n_selected)]})


def steps(n_selected: int) -> range:
    """Return the sizes at which the stop rule compares our selection."""
    step = max(1, min(MAX_STEP, n_selected // 10))
    return range(step, n_selected + 1, step)


def draw_curve(score: Score, n_records: int, sizes: Sequence[int], seed: int) -> RandomCurve:
    """Measure random selections of all sizes; smaller selections are prefixes of larger ones."""
    values, drawn = np.empty((N_DRAWN, len(sizes))), []
    for i in range(N_DRAWN):
        # A separate stream: these are not the selections of the random method.
        rows = np.random.default_rng((seed, 4, i)).permutation(n_records)[: sizes[-1]]
        scores = score(rows, sizes)
        values[i] = scores.mean(axis=1)
        drawn.append(scores)
    return RandomCurve(sizes, values, np.mean(drawn, axis=0))


def equivalent(curve: RandomCurve, scores: Values, n_records: int) -> Equivalent:
    """Return the size of the random selections that are as good as ours.

    Args:
        curve: The random selections.
        scores: float64, shape (m,), our selection's figure for each question.
        n_records: Number of records from which the questions were drawn.
    """
    from scipy.optimize import isotonic_regression  # noqa: PLC0415  half a second
    from scipy.stats import norm, t  # noqa: PLC0415

    n_drawn, centre = len(curve.values), curve.values.mean(axis=0)
    variance = curve.values.var(axis=0, ddof=1)
    tail = (1 + LEVEL) / 2
    spread = t.ppf(tail, n_drawn - 1) * np.sqrt(variance * (1 + 1 / n_drawn))
    unasked = 1 - len(scores) / n_records
    of_records = unasked * (scores - curve.by_record).var(axis=1, ddof=1) / len(scores)
    half = np.maximum(spread, norm.ppf(tail) * np.sqrt(of_records + variance / n_drawn))
    value, sizes = float(scores.mean()), curve.sizes
    n_random = _last_below(sizes, isotonic_regression(centre).x, value, sizes[-1])
    return Equivalent(
        n_random=round(n_random),
        low=round(_last_below(sizes, centre + half, value, n_random)),
        high=round(_first_above(sizes, centre - half, value, n_random)),
    )


def stop(curve: RandomCurve, sizes: Sequence[int], ours: Values) -> Stop:
    """Return the size at which our lead over random selections of the same size is greatest.

    Beyond this size, our next records add less than random records add to a random selection.
    The size is None if the lead is greatest at the last size.

    Args:
        curve: The curve of random selections, which covers these sizes.
        sizes: The sizes of our selection, ascending, in equal steps.
        ours: float64, the figure of our selection at each size.
    """
    leads = ours - curve.values.mean(axis=0)[np.searchsorted(curve.sizes, sizes)]
    best = int(leads.argmax())
    return Stop(step=sizes[0], at=None if best + 1 == len(sizes) else sizes[best])


def _last_below(sizes: Sequence[int], curve: Values, value: float, most: float) -> float:
    """Return the last size up to `most` at which a curve crosses a value, or the first."""
    below = np.flatnonzero((curve < value) & (np.array(sizes) <= most))
    return _between(sizes, curve, int(below[-1]), value) if len(below) else float(sizes[0])


def _first_above(sizes: Sequence[int], curve: Values, value: float, least: float) -> float:
    """Return the first size from `least` at which a curve crosses a value, or the last."""
    above = np.flatnonzero((curve > value) & (np.array(sizes) >= least))
    return _between(sizes, curve, int(above[0]) - 1, value) if len(above) else float(sizes[-1])


def _between(sizes: Sequence[int], curve: Values, i: int, value: float) -> float:
    """Return the size between positions i and i + 1 at which the curve crosses a value."""
    if i < 0 or i + 1 == len(sizes):
        return float(sizes[max(i, 0)])
    share = np.clip((value - curve[i]) / (curve[i + 1] - curve[i]), 0, 1)
    return float(sizes[i] * (sizes[i + 1] / sizes[i]) ** share)
