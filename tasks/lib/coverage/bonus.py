"""The bonus of a record for its judge score, in units of coverage."""

from tasks.lib.coverage.gains import Floats
from tasks.lib.similarity.cosine import Rows, Vectors


def judge_bonus(  # noqa: PLR0913
    scores: Floats,
    weight: float,
    vectors: Vectors,
    candidates: Rows,
    n_prompts: int,
    *,
    weights: Floats | None = None,
) -> Floats:
    """Return the bonus of each candidate: its judge score times `weight`, in units of coverage.

    The unit is the mean sum of weights per prompt. It does not depend on the number of records
    to select, so a smaller selection stays a prefix of a larger one.

    Args:
        scores: float64, shape (c,), from 0 to 1.
        weight: How much the judge counts, from 0.
        vectors: float32, shape (m, d), of unit norm or zero.
        candidates: intp, shape (c,), rows that may be selected.
        n_prompts: Number of prompts into which the pool is grouped.
        weights: float64, shape (m,), of the rows; 1 if None.
    """
    del candidates
    total = float(len(vectors)) if weights is None else float(weights.sum())
    return scores * (weight * total / n_prompts / 10)
