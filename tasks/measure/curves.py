"""Figures of the beginnings of selections: what each further record adds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tasks.measure.intervals import spread
from tasks.measure.summary import HIGHER_IS_BETTER, LOWER_IS_BETTER, Measured, short

POINTS = (0.25, 0.5)  # of a single budget, beside the whole
DRAWN = frozenset(LOWER_IS_BETTER + HIGHER_IS_BETTER)


def sizes(budgets: Sequence[int]) -> list[int]:
    """Where to take the figures, ascending: at the budgets; with one, at parts of it, too."""
    if len(budgets) > 1:
        return list(budgets)
    (budget,) = budgets
    return sorted({*(max(1, round(budget * part)) for part in POINTS), budget})


def curves(by_size: Mapping[int, Sequence[Measured]]) -> dict[str, Any]:
    """Every figure that is the better for being high or low, by method, at each size.

    Args:
        by_size: By the number of records, ascending, the selections measured at it.

    Returns:
        ``sizes``, and ``methods``: by method and ``group.figure``, for each size [value, low,
        high], or None where there is none. A method with several seeds has their mean and middle
        (`tasks.measure.intervals.LEVEL`); low and high are None for one that ran once.
    """
    methods: dict[str, dict[str, list[Any]]] = {}
    for i, measured in enumerate(by_size.values()):
        for (method, figure), values in _values(measured).items():
            points = methods.setdefault(method, {}).setdefault(figure, [None] * len(by_size))
            points[i] = _point(values)
    return {"sizes": list(by_size), "methods": methods}


def _values(measured: Sequence[Measured]) -> dict[tuple[str, str], list[float]]:
    """By method and figure, the values of its seeds."""
    values: dict[tuple[str, str], list[float]] = {}
    for one in measured:
        for group, figures in one.figures.items():
            for name in DRAWN & figures.keys():
                values.setdefault((one.method, f"{group}.{name}"), []).append(figures[name].value)
    return values


def _point(values: Sequence[float]) -> list[float | None]:
    if len(values) == 1:
        return [short(values[0]), None, None]
    low, high = spread(np.array(values))
    return [short(float(np.mean(values))), short(low), short(high)]
