"""Summarise all figures of all selections in one document."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tasks.lib.documents.metrics import RANDOM, jaccard
from tasks.lib.similarity.cosine import Rows
from tasks.measure.intervals import Bootstrap, Figure, Interval, p_random, percentiles

DIGITS = 6  # significant digits; the last bits of a sum differ between processors
LOWER_IS_BETTER = ("coverage_mean", "coverage_p95", "coverage_max", "redundancy")
HIGHER_IS_BETTER = (
    "facility_location",
    "vendi",
    "novel_sum",
    "distinct_2",
    "knn_probe_rouge_l",
    "knn_probe_cosine",
)


class Measured(NamedTuple):
    """The figures of one selection by group (``text`` or a space) and name."""

    method: str
    seed: int
    rows: Rows
    figures: Mapping[str, Mapping[str, Figure]]


def summarise(by_method: Mapping[str, Sequence[Measured]], bootstrap: Bootstrap) -> dict[str, Any]:
    """Return each method's figures with their intervals and p-values.

    The p-value comes from random selections of the same size; if there are none, it is None. A
    method with one seed gets intervals over records from `bootstrap`. A method with several seeds
    gets their mean, and an interval that contains the middle of their values.
    """
    random = by_method.get(RANDOM, [])
    return {
        method: {
            "n_records": len(runs[0].rows),
            "n_seeds": len(runs),
            **_groups(runs, [] if method == RANDOM else _same_size(random, runs[0]), bootstrap),
        }
        for method, runs in by_method.items()
    }


def group(measured: Iterable[Measured]) -> dict[str, list[Measured]]:
    """Group the selections by method, keeping their order."""
    by_method: dict[str, list[Measured]] = {}
    for run in measured:
        by_method.setdefault(run.method, []).append(run)
    return by_method


def as_csv(methods: Mapping[str, Any], group: str) -> str:
    """Return CSV for DVC's plots: the values of one group, with one line per method."""
    names = [
        name
        for name in LOWER_IS_BETTER + HIGHER_IS_BETTER
        if any(name in entry[group] for entry in methods.values())
    ]
    lines = [["method", "n_records", *names]]
    for method, entry in methods.items():
        figures = (entry[group].get(name) for name in names)
        cells = (str(figure["value"]) if figure else "" for figure in figures)
        lines.append([method, str(entry["n_records"]), *cells])
    return "".join(f"{','.join(line)}\n" for line in lines)


def overlap(by_method: Mapping[str, Sequence[Measured]]) -> dict[str, Any]:
    """Return the Jaccard similarity between the first selections of every pair of methods."""
    sets = [set(runs[0].rows.tolist()) for runs in by_method.values()]
    table = [[rounded(jaccard(a, b)) for b in sets] for a in sets]
    return {"methods": list(by_method), "jaccard": table}


def rounded(number: float) -> float:
    """Return a number rounded to DIGITS significant digits."""
    return float(f"{number:.{DIGITS}g}")


def _same_size(random: Sequence[Measured], selection: Measured) -> list[Measured]:
    """Return the random selections of our size, since a larger one always has better coverage."""
    return [run for run in random if len(run.rows) == len(selection.rows)]


def _groups(
    runs: Sequence[Measured], random: Sequence[Measured], bootstrap: Bootstrap
) -> dict[str, dict[str, Any]]:
    """Return the entry for each figure, by group and name."""
    return {
        group: {
            name: _entry(name, _pick(runs, group, name), _pick(random, group, name), bootstrap)
            for name in figures
        }
        for group, figures in runs[0].figures.items()
    }


def _pick(runs: Sequence[Measured], group: str, name: str) -> list[Figure]:
    """Return one figure from all runs that have it."""
    return [run.figures[group][name] for run in runs if name in run.figures[group]]


def _entry(
    name: str, figures: Sequence[Figure], random: Sequence[Figure], bootstrap: Bootstrap
) -> dict[str, Any]:
    values = np.array([figure.value for figure in figures])
    value = float(values.mean())
    interval = bootstrap.interval(figures[0]) if len(figures) == 1 else percentiles(values)
    p = None
    if random and name in LOWER_IS_BETTER + HIGHER_IS_BETTER:
        random_values = np.array([figure.value for figure in random])
        p = p_random(value, random_values, lower_is_better=name in LOWER_IS_BETTER)
    return {"value": rounded(value), "interval": _pair(interval), "p_random": p and rounded(p)}


def _pair(interval: Interval | None) -> list[float] | None:
    return interval and [rounded(interval.low), rounded(interval.high)]
