"""The table of methods: every figure beside those of random selections."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self

from tasks.report.labels import measure_name, method_name, number

OURS, CHANCE = "llm_select", "random"
SURE = 0.05  # a p-value up to it is taken for better than chance, as after each run
COLUMNS = (  # the first one orders the rows
    *("coverage_mean", "coverage_p95", "facility_location", "redundancy"),
    *("vendi", "student_rouge_l", "student_cosine"),
)
SPACES = ("words", "vectors")
MARGIN = 0.06  # of a strip's width, left free on each side


class Cell(NamedTuple):
    """One figure of one method; places on its strip are shares of the strip's width."""

    value: str
    interval: str
    is_better: bool | None  # than random; None where that cannot be said
    is_best: bool
    dot: float
    line: tuple[float, float] | None
    chance: tuple[float, float] | None


class _Strip(NamedTuple):
    """The scale that one measure of all methods is drawn on."""

    low: float
    width: float

    @classmethod
    def of(cls, figures: Iterable[Mapping[str, Any]]) -> Self:
        """The scale that holds all values and intervals."""
        ends = [end for f in figures for end in (f["value"], *(f["interval"] or ()))]
        return cls(min(ends), max(ends) - min(ends) or 1.0)

    def place(self, value: float) -> float:
        return round(MARGIN + (1 - 2 * MARGIN) * (value - self.low) / self.width, 4)

    def span(self, figure: Mapping[str, Any] | None) -> tuple[float, float] | None:
        ends = figure and figure["interval"]
        return (self.place(ends[0]), self.place(ends[1])) if ends else None


def tables(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A table for each space, the one that no method chose in first; none without a method."""
    methods = metrics["methods"]
    return [_table(space, metrics) for space in SPACES if any(space in m for m in methods.values())]


def beaten(metrics: Mapping[str, Any]) -> tuple[int, int] | None:
    """In how many figures of the words' space ours beats chance, and of how many; None: unknown."""
    methods = metrics["methods"]
    if not {OURS, CHANCE} <= set(methods):
        return None
    found = [
        _is_better(methods[OURS], methods[CHANCE], figure)
        for name, figure in methods[OURS].get(SPACES[0], {}).items()
        if name in COLUMNS
    ]
    known = [is_better for is_better in found if is_better is not None]
    return (sum(known), len(known)) if known else None


def _table(space: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    methods = metrics["methods"]
    names = [name for name in COLUMNS if any(name in m.get(space, {}) for m in methods.values())]
    lower = metrics["lower_is_better"]
    columns = [_column(space, name, methods, is_lower=name in lower) for name in names]
    sizes = {entry["n_records"] for entry in methods.values()}
    order = sorted(methods, key=lambda m: (_rank(methods[m], space, names, lower), m))
    return {
        "space": space,
        "n_records": sizes.pop() if len(sizes) == 1 else None,
        "columns": [
            {"name": name, "label": measure_name(name), "is_lower": name in lower} for name in names
        ],
        "rows": [
            {
                "name": method_name(method),
                "is_ours": method == OURS,
                "is_chance": method == CHANCE,
                "n_records": methods[method]["n_records"],
                "n_seeds": methods[method]["n_seeds"],
                "shared": _shared(metrics["overlap"], method),
                "calls": methods[method]["cost"]["calls"],
                "usd": methods[method]["cost"]["usd"],
                "cells": [column.get(method) for column in columns],
            }
            for method in order
        ],
    }


def _rank(
    entry: Mapping[str, Any], space: str, names: Iterable[str], lower: Iterable[str]
) -> float:
    """Where a method stands by the first measure: the best first, those without it last."""
    name = next(iter(names), "")
    figure = entry.get(space, {}).get(name)
    if figure is None:
        return float("inf")
    value = float(figure["value"])
    return value if name in lower else -value


def _column(
    space: str, name: str, methods: Mapping[str, Any], *, is_lower: bool
) -> dict[str, Cell]:
    """One measure of every method that has it."""
    figures = {m: e[space][name] for m, e in methods.items() if name in e.get(space, {})}
    strip = _Strip.of(figures.values())
    sizes = {methods[method]["n_records"] for method in figures}
    values = [figure["value"] for figure in figures.values()]
    best = min(values) if is_lower else max(values)
    return {
        method: Cell(
            value=number(figure["value"]),
            interval=" to ".join(number(end) for end in figure["interval"] or ()),
            is_better=_is_better(methods[method], methods.get(CHANCE), figure),
            is_best=figure["value"] == best and len(sizes) == 1 and len(figures) > 1,
            dot=strip.place(figure["value"]),
            line=strip.span(figure),
            chance=strip.span(figures.get(CHANCE)),
        )
        for method, figure in figures.items()
    }


def _is_better(
    entry: Mapping[str, Any], chance: Mapping[str, Any] | None, figure: Mapping[str, Any]
) -> bool | None:
    """Whether a figure is better than random; selections of other sizes do not compare."""
    if figure["p_random"] is None or not chance or entry["n_records"] != chance["n_records"]:
        return None
    return bool(figure["p_random"] <= SURE)


def _shared(overlap: Mapping[str, Any], method: str) -> float | None:
    """The Jaccard similarity of a method's selection and ours."""
    names = overlap["methods"]
    if OURS not in names or method not in names or method == OURS:
        return None
    return float(overlap["jaccard"][names.index(OURS)][names.index(method)])
