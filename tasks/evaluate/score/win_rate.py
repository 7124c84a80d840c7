"""Compare two models' answers record by record: how often does one win?

A judge, or a figure such as ROUGE-L, may prefer answers for their length. So the win rate is also
given for answers of equal length, from AlpacaEval 2's logistic model. Its terms for the difficulty
of an instruction are left out, since they exist only for AlpacaEval's own instructions.
"""

import numpy as np

from tasks.evaluate.score.bootstrap import NestedBootstrap, Ratio, Values, interval
from tasks.lib.documents.evaluation import Duel, FigureEstimate

RIDGE = 1e-6  # keeps the fit finite if one model wins every duel
MAX_STEPS = 50
CLOSE = 1e-10


def wins(a: Values, b: Values) -> Values:
    """Return 1 where `a` is higher, 0 where `b` is, and 0.5 for a tie.

    Args:
        a: float64, shape (seeds, records), a figure of the first model; higher is better.
        b: The same for the second model, which may have a different number of seeds. If so, the
            seeds of the model with fewer are repeated in turn.

    Returns:
        float64, shape (pairs of seeds, records).
    """
    ours, theirs = paired(a, b)
    return (np.sign(ours - theirs) + 1) / 2


def paired(a: Values, b: Values) -> tuple[Values, Values]:
    """Return both arrays with the same number of rows; the rows of the shorter one are repeated."""
    n_pairs = max(len(a), len(b))
    rows = np.arange(n_pairs)
    return a[rows % len(a)], b[rows % len(b)]


def length_controlled(won: Values, longer_by: Values, weights: Values | None = None) -> float:
    """Return the expected win rate for answers of equal length, from 0 to 1.

    The rate is the maximum-likelihood fit of ``logit P(win) = a + b * tanh(longer_by / sd)`` at
    equal lengths. If all lengths are equal, it is the mean of `won`.

    Args:
        won: Shape (n,), 1 for a win, 0 for a loss, a value between for a tie or an unclear result.
        longer_by: Shape (n,), how much longer the answer is than its rival.
        weights: Shape (n,), how often each duel counts; once if not given.
    """
    counts = np.ones(len(won)) if weights is None else weights
    sd = longer_by.std(ddof=1) if len(won) > 1 else 0.0
    scaled = np.tanh(longer_by / sd) if sd else np.zeros(len(won))
    features = np.column_stack([np.ones(len(won)), scaled])
    penalty = np.full(2, RIDGE)
    fitted = np.zeros(2)
    for _ in range(MAX_STEPS):  # Newton's method
        expected = 1 / (1 + np.exp(-features @ fitted))
        slope = features.T @ (counts * (won - expected)) - penalty * fitted
        curvature = (features.T * (counts * expected * (1 - expected))) @ features
        step = np.linalg.solve(curvature + np.diag(penalty), slope)
        fitted += np.clip(step, -2, 2)  # a full step may overshoot where the fit is flat
        if np.abs(step).max() < CLOSE:
            break
    return float(1 / (1 + np.exp(-fitted[0])))


def duel(
    arm: str, won: Values, bootstrap: NestedBootstrap, longer_by: Values | None = None
) -> Duel:
    """Return an arm's win rate against random, and also for equal lengths if lengths are given.

    Args:
        arm: The arm's name.
        won: Shape (pairs of seeds, records), as returned by `wins`.
        bootstrap: The resamples of the records.
        longer_by: Shape (pairs of seeds, records), how much longer the arm's answers are.
    """
    raw = bootstrap.estimate(Ratio(arm, won, np.ones(won.shape[1])))
    # With few seeds, the draws are spread out, and may go beyond the ends of the scale.
    raw = raw.model_copy(update={"low": max(raw.low, 0.0), "high": min(raw.high, 1.0)})
    if longer_by is None:
        return Duel(n_questions=won.shape[1], win_rate=raw, length_controlled=None)
    flat = won.ravel(), longer_by.ravel()
    draws = [
        length_controlled(*flat, np.tile(counts, len(won)).astype(np.float64))
        for counts in bootstrap.counts
    ]
    low, high = interval(np.array(draws))
    controlled = FigureEstimate(value=length_controlled(*flat), low=low, high=high)
    return Duel(n_questions=won.shape[1], win_rate=raw, length_controlled=controlled)
