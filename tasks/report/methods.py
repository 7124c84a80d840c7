"""Build the table of methods, with their metrics compared with those of random selections."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self

from tasks.lib.documents.labels import method_name, metric_name
from tasks.lib.documents.metrics import (
    OURS,
    RANDOM,
    Interval,
    MethodMetrics,
    Metric,
    Metrics,
)
from tasks.report.formatting import number

COLUMNS = (  # the first one orders the rows
    *("coverage_mean", "coverage_p95", "facility_location", "redundancy"),
    *("vendi", "novel_sum", "knn_probe_rouge_l", "knn_probe_cosine"),
)
MARGIN = 0.06  # share of a strip's width left free on each side


class Cell(NamedTuple):
    """One metric of one method; `dot`, `line` and `chance` are fractions of its strip's width."""

    value: str
    interval: str
    is_better: bool | None  # than random; None if that is unknown
    is_best: bool
    dot: float
    line: Interval | None
    chance: Interval | None


class Beaten(NamedTuple):
    """The number of metrics, out of those in some spaces, in which our method beats random."""

    n: int
    of: int
    spaces: str


class _Strip(NamedTuple):
    """The scale on which one metric is drawn for all methods."""

    low: float
    width: float

    @classmethod
    def of(cls, column: Iterable[Metric]) -> Self:
        """Return a scale that covers all values and intervals."""
        ends = [end for metric in column for end in (metric.value, *(metric.interval or ()))]
        return cls(min(ends), max(ends) - min(ends) or 1.0)

    def place(self, value: float) -> float:
        return round(MARGIN + (1 - 2 * MARGIN) * (value - self.low) / self.width, 4)

    def span(self, metric: Metric | None) -> Interval | None:
        if metric is None or metric.interval is None:
            return None
        return self.place(metric.interval[0]), self.place(metric.interval[1])


def tables(metrics: Metrics) -> list[dict[str, Any]]:
    """Return a table for each measured space, in the order of SPACES."""
    return [_table(space, metrics) for space in metrics.spaces()]


def beaten(metrics: Metrics) -> Beaten | None:
    """Count the metrics in which our method beats random, in the spaces where it did not choose.

    Returns:
        None if no metric can be compared.
    """
    if not metrics.chance_for(OURS):
        return None
    spaces = unseen(metrics)
    ours = [(n, m) for s in spaces for n, m in metrics.methods[OURS].space(s).items()]
    known = [m.beats_chance for n, m in ours if n in COLUMNS and m.p_random is not None]
    return Beaten(sum(map(bool, known)), len(known), " and ".join(spaces)) if known else None


def unseen(metrics: Metrics) -> list[str]:
    """Return the measured spaces in which our selection was not chosen."""
    chose_in = metrics.methods[OURS].chose_in or ()
    return [space for space in metrics.spaces() if space not in chose_in]


def _table(space: str, metrics: Metrics) -> dict[str, Any]:
    methods = metrics.methods
    names = [name for name in COLUMNS if any(name in m.space(space) for m in methods.values())]
    columns = [_column(space, name, metrics) for name in names]
    sizes = {entry.n_records for entry in methods.values()}
    order = sorted(methods, key=lambda m: (_rank(methods[m], space, names, metrics), m))
    return {
        "space": space,
        "n_records": sizes.pop() if len(sizes) == 1 else None,
        "columns": [
            {"label": metric_name(name), "is_lower": metrics.is_lower_better(name)}
            for name in names
        ],
        "rows": [
            {
                "name": method_name(method),
                "is_ours": method == OURS,
                "is_chance": method == RANDOM,
                "shared": _shared(metrics, method),
                "chose_here": space in (methods[method].chose_in or ()),
                "metrics": methods[method],
                "cells": [column.get(method) for column in columns],
            }
            for method in order
        ],
    }


def _rank(entry: MethodMetrics, space: str, names: Iterable[str], metrics: Metrics) -> float:
    """Return a sort key for the first metric: the best method first, methods without it last."""
    name = next(iter(names), "")
    metric = entry.space(space).get(name)
    if metric is None:
        return float("inf")
    return metric.value if metrics.is_lower_better(name) else -metric.value


def _column(space: str, name: str, metrics: Metrics) -> Mapping[str, Cell]:
    """Return one metric of every method that has it."""
    entries = {m: entry for m, entry in metrics.methods.items() if name in entry.space(space)}
    column = {method: entry.space(space)[name] for method, entry in entries.items()}
    strip = _Strip.of(column.values())
    is_comparable = len({entry.n_records for entry in entries.values()}) == 1 < len(entries)
    values = [metric.value for metric in column.values()]
    best = min(values) if metrics.is_lower_better(name) else max(values)
    return {
        method: Cell(
            value=number(metric.value),
            interval=" to ".join(number(end) for end in metric.interval or ()),
            is_better=metric.beats_chance if metrics.chance_for(method) else None,
            is_best=is_comparable and metric.value == best,
            dot=strip.place(metric.value),
            line=strip.span(metric),
            chance=strip.span(column.get(RANDOM)),
        )
        for method, metric in column.items()
    }


def _shared(metrics: Metrics, method: str) -> float | None:
    """Return the Jaccard similarity between a method's selection and ours."""
    names = metrics.overlap.methods
    if OURS not in names or method not in names or method == OURS:
        return None
    return metrics.overlap.jaccard[names.index(OURS)][names.index(method)]
