"""Choices by a number that a model gave each record, such as a perplexity or a rating."""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tasks.lib.similarity.cosine import Rows

Scores = NDArray[np.float64]
"""One of each record, shape (n,); NaN where the model gave none, and such a record comes last."""


class Score(StrEnum):
    """What the number tells; docs/reference/baselines.md says how each is come by."""

    PERPLEXITY = "perplexity"
    OPENNESS = "openness"
    RATING = "rating"


BY_RESPONSE = frozenset({Score.PERPLEXITY, Score.OPENNESS})
"""Told by responses of the model on this machine."""


def highest(scores: Scores, budget: int, seed: int) -> Rows:
    """The rows with the highest scores, the highest first; ties go by lot."""
    return _by(-scores, budget, seed)


def lowest(scores: Scores, budget: int, seed: int) -> Rows:
    """The rows with the lowest scores, the lowest first; ties go by lot."""
    return _by(scores, budget, seed)


def middle(scores: Scores, budget: int, seed: int) -> Rows:
    """The rows whose scores rank nearest to the middle, the nearest first; ties go by lot."""
    n_scored = np.count_nonzero(~np.isnan(scores))
    ranks = np.empty(len(scores))
    ranks[_by(scores, len(scores), seed)] = np.arange(len(scores))
    distance = np.abs(ranks - (n_scored - 1) / 2)
    return _by(np.where(np.isnan(scores), np.nan, distance), budget, seed)


def reaching(threshold: float, scores: Scores, budget: int, seed: int) -> Rows:
    """Rows drawn by lot from those that reach a score; where too few do, the next highest follow.

    The rows of a smaller budget are the first of those of a larger one.
    """
    return highest(np.minimum(scores, threshold), budget, seed)


def _by(keys: Scores, budget: int, seed: int) -> Rows:
    lots = np.random.default_rng(seed).permutation(len(keys))
    return np.lexsort((lots, keys))[:budget]  # NaN sorts last
