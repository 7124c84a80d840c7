"""Split the targets into those that steer the selection and those that evaluate it."""

from typing import NamedTuple, Self

import numpy as np

from tasks.choose.inputs import Inputs
from tasks.lib.documents.choice import TargetFigure
from tasks.lib.similarity.cosine import Rows, Vectors, nearest

N_RANDOM = 20  # random selections that a selection is compared with
_SPLIT, _RANDOM = 6, 7  # separate streams of random numbers


class Targets(NamedTuple):
    """The vectors of the targets: float32, shape (t, d).

    Attributes:
        steering: The half that the weights depend on.
        held_out: The other half, which is used to evaluate the selection.
    """

    steering: Vectors
    held_out: Vectors

    @classmethod
    def split(cls, targets: Vectors, seed: int) -> Self:
        """Divide the targets at random into two halves."""
        order = np.random.default_rng((seed, _SPLIT)).permutation(len(targets))
        half = (len(targets) + 1) // 2
        return cls(targets[np.sort(order[:half])], targets[np.sort(order[half:])])


def judge_by_targets(
    inputs: Inputs, targets: Targets, rows: Rows, seed: int
) -> TargetFigure | None:
    """Compare how close a selection and random ones of the same size are to the held-out targets.

    Return None if there are no targets or nothing is selected.
    """
    if not len(targets.held_out) or not len(rows):
        return None
    vectors = inputs.candidates.vectors
    rng = np.random.default_rng((seed, _RANDOM))
    free = np.flatnonzero(~inputs.is_known)

    def nearness(selected: Rows) -> float:
        return float(nearest(targets.held_out, vectors[selected]).cosines.mean())

    drawn = [nearness(rng.choice(free, len(rows), replace=False)) for _ in range(N_RANDOM)]
    ours = nearness(rows)
    return TargetFigure(
        n_steering=len(targets.steering),
        n_held_out=len(targets.held_out),
        cosine=round(ours, 6),
        random_cosine=round(float(np.mean(drawn)), 6),
        n_random=N_RANDOM,
        n_random_below=sum(other < ours for other in drawn),
    )
