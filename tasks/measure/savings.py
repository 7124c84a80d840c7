"""Compute how many annotations a selection saves, in coverage and in the probe: savings.json."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from tasks.lib.documents.savings import STUDENT, Equivalent, Savings, least
from tasks.lib.similarity.cosine import Rows
from tasks.measure.evaluation_data import Reference
from tasks.measure.intervals import Mean
from tasks.measure.random_curve import (
    RandomCurve,
    Score,
    Values,
    curve_sizes,
    draw_curve,
    equivalent,
    steps,
    stop,
)
from tasks.measure.space import Space
from tasks.measure.summary import Measured

COVERED_SPACES = ("outputs", "words")


def draw_curves(reference: Reference, n_selected: int, seed: int) -> dict[str, RandomCurve]:
    """Return random curves around a size, one for each metric that the pool allows."""
    n_records = len(reference.texts)
    sizes = curve_sizes(n_selected, n_records)
    return {
        name: draw_curve(score, n_records, sizes, seed)
        for name, score in _scores(reference).items()
    }


def equivalents(
    reference: Reference, curves: Mapping[str, RandomCurve], runs: Sequence[Measured]
) -> dict[str, Equivalent]:
    """Return, by curve name, the average equivalent of a method's selections."""
    found = {}
    for name, curve in curves.items():
        space, _, metric = name.partition(".")
        is_student = name == STUDENT
        figures = [run.figures[space][metric] for run in runs if metric in run.figures[space]]
        values = [figure.values for figure in figures if isinstance(figure, Mean)]
        if values:
            n_covered = int(reference.spaces[space].has_text.sum())
            n_records = reference.probe.n_answered if is_student else n_covered
            scores = np.mean(values, axis=0) * (1 if is_student else -1)
            found[name] = equivalent(curve, scores, n_records)
    return found


def savings(
    reference: Reference, curves: Mapping[str, RandomCurve], runs: Sequence[Measured]
) -> Savings:
    """Compare our selection with random ones of many sizes, in coverage and in the probe.

    Args:
        reference: The data that selections are measured against.
        curves: The random selections, drawn around the size of ours.
        runs: Our selection; empty if nothing has been selected yet.
    """
    found = equivalents(reference, curves, runs)
    sizes = next(iter(curves.values())).sizes
    n_selected = len(runs[0].rows) if runs else 0
    saved = annotations_saved(list(found.values()), n_selected)
    student = found.pop(STUDENT, None)
    scores = _scores(reference)
    by_step = steps(n_selected) if runs else ()
    return Savings(
        n_selected=n_selected,
        min_size=sizes[0],
        max_size=sizes[-1],
        coverage={name.partition(".")[0]: size for name, size in found.items()},
        student=student,
        saved=saved,
        saved_percent=round(100 * saved / (n_selected + saved), 1) if saved else 0.0,
        stop={
            name.partition(".")[0]: stop(
                curves[name], by_step, scores[name](runs[0].rows, by_step).mean(axis=1)
            )
            for name in found
        },
    )


def _scores(reference: Reference) -> dict[str, Score]:
    """Return the functions that compute the compared figures, by metric name."""
    scores: dict[str, Score] = {}
    for space in COVERED_SPACES:
        if space in reference.spaces:
            scores[f"{space}.coverage_mean"] = partial(_nearness, reference.spaces[space])
    if reference.probe.test.size:
        vectors = reference.spaces[STUDENT.partition(".")[0]].vectors
        scores[STUDENT] = partial(reference.probe.rouge_l, vectors)
    return scores


def _nearness(space: Space, rows: Rows, sizes: Sequence[int]) -> Values:
    return -space.gaps(rows, sizes)


def annotations_saved(found: Sequence[Equivalent], n_selected: int) -> int:
    """Return the saving from the smallest equivalent; 0 unless its interval is above our size."""
    if not found or least(found).low <= n_selected:
        return 0
    return least(found).n_random - n_selected
