"""The order in which judged records are selected: by coverage, or by their ranks in prompts."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.lib.coverage.gains import gains_in_order
from tasks.lib.coverage.greedy import Cover, greedy, judge_bonus
from tasks.lib.prompts.quota import prompt_order
from tasks.lib.similarity.cosine import Rows, Vectors


class JudgedRecords(NamedTuple):
    """The judged records that can be selected, in order of prompt and slot.

    Attributes:
        rows: intp, shape (n,), the row of each record in `vectors`.
        prompts: int32, shape (n,), from 1.
        ranks: float64, shape (n,), from 1; infinite if no ballot names the record.
        scores: float64, shape (n,), the judge scores.
        sizes: intp, shape (K,), the size of each prompt, including those that were not judged.
        vectors: float32, shape (m, d), unit norm, the vectors of all unique records.
    """

    rows: Rows
    prompts: NDArray[np.int32]
    ranks: NDArray[np.float64]
    scores: NDArray[np.float64]
    sizes: Rows
    vectors: Vectors


def by_coverage(candidates: JudgedRecords, n: int, judge_weight: float, seed: int) -> Cover:
    """Return `n` records in greedy order: those of the shortlists first, then the others.

    The shortlists are the records with a judge score above 0. The others are selected only after
    all of these. A smaller selection is a prefix of a larger one, since neither the shortlists nor
    the bonuses depend on `n`.
    """
    vectors, rows, scores = candidates.vectors, candidates.rows, candidates.scores
    if not n:
        return Cover(rows[:0], np.empty(0))
    bonus = judge_bonus(scores, judge_weight, vectors, len(candidates.sizes), seed=seed)
    is_listed = scores > 0
    n_listed = min(n, int(is_listed.sum()))
    listed = greedy(vectors, rows[is_listed], n_listed, bonus=bonus[is_listed], seed=seed)
    if n == n_listed:
        return listed
    others = greedy(vectors, rows[~is_listed], n - n_listed, annotated=rows[is_listed], seed=seed)
    return Cover(*(np.concatenate(parts) for parts in zip(listed, others, strict=True)))


def by_ranks(candidates: JudgedRecords, n: int, seed: int) -> Cover:
    """Return `n` records: the first rank of every prompt, then the second ranks, and so on.

    Within a rank, prompts are in `prompt_order`. Records that no ballot names come last, by slot.
    """
    place = np.argsort(prompt_order(candidates.sizes, seed))  # of each prompt
    order = np.lexsort((place[candidates.prompts - 1], candidates.ranks))  # stable: by slot at last
    rows = candidates.rows[order[:n]]
    return Cover(rows, gains_in_order(candidates.vectors, rows))
