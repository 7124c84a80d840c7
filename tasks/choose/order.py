"""Select judged records in order: by coverage, or by their ranks in the prompts."""

from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.lib.coverage.gains import gains_in_order
from tasks.lib.coverage.greedy import Cover, greedy, judge_bonus
from tasks.lib.coverage.quotas import Quota, Quotas, can_meet
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
        vectors: float32, shape (m + a, d), unit norm, the vectors of all unique records, then those
            of the annotated ones.
        weights: float64, shape (m + a,), the weight of each vector in the coverage; 0 for annotated
            records.
        annotated: intp, shape (a,), the rows of the annotated records.
    """

    rows: Rows
    prompts: NDArray[np.int32]
    ranks: NDArray[np.float64]
    scores: NDArray[np.float64]
    sizes: Rows
    vectors: Vectors
    weights: NDArray[np.float64]
    annotated: Rows


def by_coverage(
    candidates: JudgedRecords,
    n: int,
    judge_weight: float,
    seed: int,
    quotas: Sequence[Quota] = (),
) -> Cover:
    """Return `n` records in greedy order: shortlisted records first, then the others.

    A record is shortlisted if its judge score is above 0. Other records are selected only after all
    shortlisted records, or if the shortlisted records cannot meet the quotas. Without quotas, a
    smaller selection is a prefix of a larger one, since neither the shortlist nor the bonuses
    depend on `n`.

    Args:
        candidates: The records.
        n: Number of records to select.
        judge_weight: The weight of the judge score.
        seed: The seed of the samples from a large pool.
        quotas: Quotas with the labels of `candidates`; the selection meets all of them exactly, at
            each of their sizes.

    Raises:
        UnmetQuotaError: No selection meets the quotas.
    """
    vectors, rows, scores = candidates.vectors, candidates.rows, candidates.scores
    weights, annotated = candidates.weights, candidates.annotated
    if not n:
        return Cover(rows[:0], np.empty(0))
    m = len(vectors) - len(annotated)
    bonus = judge_bonus(
        scores, judge_weight, vectors[:m], len(candidates.sizes), weights=weights[:m], seed=seed
    )
    select = partial(greedy, vectors, weights=weights, seed=seed)
    is_listed = scores > 0
    n_listed = int(is_listed.sum())
    in_lists = [quota.among(is_listed) for quota in quotas]
    if quotas and not can_meet(in_lists, n):
        # Larger than any gain, so a record outside the shortlists is selected only to meet a quota.
        first = bonus + np.where(is_listed, float(weights.sum()), 0.0)
        return select(rows, n, bonus=first, groups=quotas, annotated=annotated)
    n_first = min(n, n_listed)
    listed = select(
        rows[is_listed],
        n_first,
        bonus=bonus[is_listed],
        groups=in_lists,
        annotated=annotated,
    )
    if n == n_first:
        return listed
    covering = np.concatenate([rows[is_listed], annotated])
    others = select(rows[~is_listed], n - n_first, annotated=covering)
    return Cover(*(np.concatenate(parts) for parts in zip(listed, others, strict=True)))


def by_ranks(candidates: JudgedRecords, n: int, seed: int, quotas: Sequence[Quota] = ()) -> Cover:
    """Return `n` records: the first rank of every prompt, then the second ranks, and so on.

    Within a rank, prompts are in `prompt_order`. Records that no ballot names come last, by slot.
    A record is skipped if the quotas leave no room for it. If the quotas have several sizes, the
    skipped records get another chance after each size.

    Raises:
        UnmetQuotaError: No selection meets the quotas.
    """
    place = np.argsort(prompt_order(candidates.sizes, seed))  # of each prompt
    order = np.lexsort((place[candidates.prompts - 1], candidates.ranks))  # stable, by slot
    waiting, taken = dict.fromkeys(order.tolist()), list[int]()
    left = Quotas(quotas, n)
    for size in left.sizes:
        more = list(islice((i for i in waiting if left.take(i)), size - len(taken)))
        taken += more
        for i in more:
            del waiting[i]
    rows = candidates.rows[np.array(taken, np.intp)]
    gains = gains_in_order(
        candidates.vectors, rows, weights=candidates.weights, annotated=candidates.annotated
    )
    return Cover(rows, gains)
