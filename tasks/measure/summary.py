"""All figures of all selections as one document."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tasks.lib.documents.metrics import CHANCE, jaccard
from tasks.lib.similarity.cosine import Rows
from tasks.measure.intervals import Bootstrap, Figure, Interval, p_random, spread

DIGITS = 6  # significant ones; the last bits of a sum differ between processors
LOWER_IS_BETTER = ("coverage_mean", "coverage_p95", "coverage_max", "redundancy")
HIGHER_IS_BETTER = ("facility_location", "vendi", "distinct_2", "student_rouge_l", "student_cosine")


class Measured(NamedTuple):
    """The figures of one selection by group (text, or the space they were taken in) and name."""

    method: str
    seed: int
    rows: Rows
    figures: Mapping[str, Mapping[str, Figure]]


def summarise(measured: Sequence[Measured], bootstrap: Bootstrap) -> dict[str, Any]:
    """For each method the value of every figure, its interval, and how often chance does as well.

    Chance is the random selections of the same size; where there are none, it is not told. A method
    that ran with one seed has intervals by `bootstrap`, over records; one that ran with several has
    the mean over its seeds, and the middle of them for interval.
    """
    by_method: dict[str, list[Measured]] = {}
    for one in measured:
        by_method.setdefault(one.method, []).append(one)
    chance = by_method.get(CHANCE, [])
    return {
        method: {
            "n_records": len(runs[0].rows),
            "n_seeds": len(runs),
            **_groups(runs, [] if method == CHANCE else _as_large(chance, runs[0]), bootstrap),
        }
        for method, runs in by_method.items()
    }


def as_csv(methods: Mapping[str, Any], group: str) -> str:
    """A line a method with the values of one group, for DVC's plots; an absent figure is empty."""
    names = [name for name in LOWER_IS_BETTER + HIGHER_IS_BETTER if _has(methods, group, name)]
    lines = [["method", "n_records", *names]]
    for method, entry in methods.items():
        figures = (entry[group].get(name) for name in names)
        cells = (str(figure["value"]) if figure else "" for figure in figures)
        lines.append([method, str(entry["n_records"]), *cells])
    return "".join(f"{','.join(line)}\n" for line in lines)


def _has(methods: Mapping[str, Any], group: str, name: str) -> bool:
    return any(name in entry[group] for entry in methods.values())


def overlap(measured: Iterable[Measured]) -> dict[str, Any]:
    """The Jaccard similarity of each two methods' selections, of the first seed each."""
    sets: dict[str, set[int]] = {}
    for one in measured:
        sets.setdefault(one.method, set(one.rows.tolist()))
    table = [[jaccard(a, b) for b in sets.values()] for a in sets.values()]
    return {"methods": list(sets), "jaccard": [[short(cell) for cell in row] for row in table]}


def short(number: float) -> float:
    """A number to DIGITS significant digits."""
    return float(f"{number:.{DIGITS}g}")


def _as_large(chance: Sequence[Measured], one: Measured) -> list[Measured]:
    """Those of as many records as one has: a larger selection always covers better."""
    return [each for each in chance if len(each.rows) == len(one.rows)]


def _groups(
    runs: Sequence[Measured], chance: Sequence[Measured], bootstrap: Bootstrap
) -> dict[str, dict[str, Any]]:
    """The entry of each figure, by group and name."""
    return {
        group: {
            name: _entry(name, _pick(runs, group, name), _pick(chance, group, name), bootstrap)
            for name in figures
        }
        for group, figures in runs[0].figures.items()
    }


def _pick(runs: Sequence[Measured], group: str, name: str) -> list[Figure]:
    """One figure of all runs that have it."""
    return [run.figures[group][name] for run in runs if name in run.figures[group]]


def _entry(
    name: str, figures: Sequence[Figure], chance: Sequence[Figure], bootstrap: Bootstrap
) -> dict[str, Any]:
    values = np.array([figure.value for figure in figures])
    value = float(values.mean())
    interval = bootstrap.interval(figures[0]) if len(figures) == 1 else spread(values)
    p = None
    if chance and name in LOWER_IS_BETTER + HIGHER_IS_BETTER:
        by_chance = np.array([figure.value for figure in chance])
        p = p_random(value, by_chance, lower_is_better=name in LOWER_IS_BETTER)
    return {"value": short(value), "interval": _pair(interval), "p_random": p and short(p)}


def _pair(interval: Interval | None) -> list[float] | None:
    return interval and [short(interval.low), short(interval.high)]
