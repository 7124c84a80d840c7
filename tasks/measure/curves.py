"""Collect the figures of each selection's prefixes, which show what further records add."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tasks.measure.intervals import percentiles
from tasks.measure.summary import HIGHER_IS_BETTER, LOWER_IS_BETTER, Measured, rounded

PARTS = (0.25, 0.5)  # of a single budget, measured in addition to the whole
PLOTTED = frozenset(LOWER_IS_BETTER + HIGHER_IS_BETTER)


def sizes(budgets: Sequence[int]) -> list[int]:
    """Return the sizes to measure, ascending: the budgets, or the parts of a single budget."""
    if len(budgets) > 1:
        return list(budgets)
    (budget,) = budgets
    return sorted({*(max(1, round(budget * part)) for part in PARTS), budget})


def curves(by_size: Mapping[int, Sequence[Measured]]) -> dict[str, Any]:
    """Return every figure for which lower or higher is better, by method, at each size.

    Args:
        by_size: The measured selections by number of records, ascending.

    Returns:
        ``sizes``, and ``methods``: by method and ``group.figure``, [value, low, high] for each
        size, or None if there is no figure. For several seeds, the value is their mean, and low and
        high are the bounds of the middle share `tasks.measure.intervals.LEVEL`; for one seed, low
        and high are None.
    """
    methods: dict[str, dict[str, list[Any]]] = {}
    for i, measured in enumerate(by_size.values()):
        for (method, figure), values in _values(measured).items():
            points = methods.setdefault(method, {}).setdefault(figure, [None] * len(by_size))
            points[i] = _point(values)
    return {"sizes": list(by_size), "methods": methods}


def _values(measured: Sequence[Measured]) -> dict[tuple[str, str], list[float]]:
    """Return the values of all seeds by method and figure."""
    values: dict[tuple[str, str], list[float]] = {}
    for run in measured:
        for group, figures in run.figures.items():
            for name in PLOTTED & figures.keys():
                values.setdefault((run.method, f"{group}.{name}"), []).append(figures[name].value)
    return values


def _point(values: Sequence[float]) -> list[float | None]:
    if len(values) == 1:
        return [rounded(values[0]), None, None]
    low, high = percentiles(np.array(values))
    return [rounded(float(np.mean(values))), rounded(low), rounded(high)]
