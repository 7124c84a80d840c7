"""Determine what the selection would be with a different judge weight."""

from collections.abc import Iterator, Sequence

import numpy as np

from tasks.choose.order import JudgedRecords, by_coverage
from tasks.lib.coverage.greedy import Cover
from tasks.lib.coverage.quotas import Quota
from tasks.lib.documents.choice import WeightFigure

WEIGHTS = (0.0, 0.5, 2.0)  # each takes as long as the selection itself
MAX_CELLS = 100_000_000  # rounds x listed records x all records; a weight then takes 6 CPU seconds


def compare_weights(
    candidates: JudgedRecords, cover: Cover, judge_weight: float, seed: int, quotas: Sequence[Quota]
) -> tuple[WeightFigure, ...]:
    """Return what each of WEIGHTS and the run's own weight selects, in ascending order of weight.

    The result is empty if nothing is selected, or if the pool is too large for this to be quick.

    Args:
        candidates: The records.
        cover: The run's selection.
        judge_weight: The run's weight.
        seed: As for `by_coverage`.
        quotas: As for `by_coverage`.
    """
    n_rounds = -(-len(cover.rows) // len(candidates.sizes))
    n_cells = n_rounds * int((candidates.scores > 0).sum()) * len(candidates.vectors)
    if not 0 < n_cells <= MAX_CELLS:
        return ()
    return tuple(_figures(candidates, cover, judge_weight, seed, quotas))


def _figures(
    candidates: JudgedRecords, cover: Cover, judge_weight: float, seed: int, quotas: Sequence[Quota]
) -> Iterator[WeightFigure]:
    n, scores = len(cover.rows), np.zeros(len(candidates.vectors))
    scores[candidates.rows] = candidates.scores
    for weight in sorted({*WEIGHTS, judge_weight}):
        is_ours = weight == judge_weight
        other = cover if is_ours else by_coverage(candidates, n, weight, seed, quotas)
        yield WeightFigure(
            weight=weight,
            mean_score=round(float(scores[other.rows].mean()), 6),
            coverage=round(float(other.gains.sum()), 6),
            n_shared=len(np.intersect1d(other.rows, cover.rows)),
        )
