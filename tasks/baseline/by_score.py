"""Select by a number that a model gives each record, such as a perplexity or a rating."""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tasks.lib.similarity.cosine import Rows

Scores = NDArray[np.float64]
"""One score per record, shape (n,); NaN if the model gave none, which puts the record last."""


class Score(StrEnum):
    """The scores; docs/reference/baselines.md says how each is computed."""

    PERPLEXITY = "perplexity"
    OPENNESS = "openness"
    RATING = "rating"
    JUDGE = "judge"


BY_RESPONSE = frozenset({Score.PERPLEXITY, Score.OPENNESS})
"""The scores that are computed from the local model's responses."""


def highest(scores: Scores, budget: int, seed: int) -> Rows:
    """Return the rows with the highest scores, the highest first; ties in random order."""
    return _ascending(-scores, budget, seed)


def lowest(scores: Scores, budget: int, seed: int) -> Rows:
    """Return the rows with the lowest scores, the lowest first; ties in random order."""
    return _ascending(scores, budget, seed)


def middle(scores: Scores, budget: int, seed: int) -> Rows:
    """Return the rows with scores nearest to the middle of the ranking; ties in random order."""
    n_scored = np.count_nonzero(~np.isnan(scores))
    ranks = np.empty(len(scores))
    ranks[_ascending(scores, len(scores), seed)] = np.arange(len(scores))
    distance = np.abs(ranks - (n_scored - 1) / 2)
    return _ascending(np.where(np.isnan(scores), np.nan, distance), budget, seed)


def reaching(threshold: float, scores: Scores, budget: int, seed: int) -> Rows:
    """Return random rows with scores of at least `threshold`, then the highest of the other rows.

    A smaller selection is a prefix of a larger one.
    """
    return highest(np.minimum(scores, threshold), budget, seed)


def _ascending(keys: Scores, budget: int, seed: int) -> Rows:
    ties = np.random.default_rng(seed).permutation(len(keys))
    return np.lexsort((ties, keys))[:budget]  # NaN sorts last
