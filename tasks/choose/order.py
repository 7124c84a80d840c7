"""Select judged records in order: by coverage, or by their ranks in the prompts."""

from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.lib.coverage.greedy import Cover, greedy, judge_unit
from tasks.lib.coverage.marginal_gains import gains_in_order
from tasks.lib.coverage.quotas import Quota, Quotas, can_meet
from tasks.lib.prompts.share_budget import prompt_order
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
    """Return `n` records in greedy order, in rounds of one record per prompt on average.

    Round i ends at i x K records, for K prompts. It selects from the first i x S ranks of each
    prompt, where S is the length of the shortlists; other records are selected only if no such
    record is left. The bonus of a record is its judge score x `judge_weight` x `judge_unit` of the
    selection at the end of the round / i, so the judge counts less for the second record of a
    prompt than for the first. Each round depends only on those before it, so a smaller selection
    is a prefix of a larger one.

    With quotas, there is only one round, the last one. Records beyond the ranks of the round are
    selected if the others cannot meet the quotas.

    Args:
        candidates: The records.
        n: Number of records to select.
        judge_weight: The weight of the judge score.
        seed: The seed for the samples from a large pool.
        quotas: Quotas with the labels of `candidates`; the selection meets all of them exactly, at
            each of their sizes.

    Raises:
        UnmetQuotaError: No selection meets the quotas.
    """
    n_prompts = len(candidates.sizes)
    search = _Rounds(candidates, judge_weight, seed)
    n_rounds = -(-n // n_prompts)
    if quotas and n:
        search.select_by_quotas(n, n_rounds, quotas)
    else:
        for i in range(1, n_rounds + 1):
            search.select(min(n, i * n_prompts), i)
    return search.cover


class _Rounds:
    """A selection by coverage that grows from round to round."""

    def __init__(self, candidates: JudgedRecords, judge_weight: float, seed: int) -> None:
        self._candidates, self._judge_weight, self._seed = candidates, judge_weight, seed
        self._greedy = partial(greedy, candidates.vectors, weights=candidates.weights, seed=seed)
        self._shortlist = float(candidates.ranks[candidates.scores > 0].max(initial=0.0))
        self._is_left = np.ones(len(candidates.rows), np.bool_)
        self.cover = Cover(candidates.rows[:0], np.empty(0))

    def select(self, size: int, i: int) -> None:
        """Grow the selection to `size` records in round `i`."""
        for is_open, bonus in (
            (self._is_ranked(i), self._bonus(i)),
            (np.ones_like(self._is_left), np.zeros_like(self._candidates.scores)),
        ):
            places = np.flatnonzero(self._is_left & is_open)
            n = min(size - len(self.cover.rows), len(places))
            if n:
                self._add(n, places, bonus, ())

    def select_by_quotas(self, size: int, i: int, quotas: Sequence[Quota]) -> None:
        """Select `size` records that meet the quotas, as round `i` would."""
        is_open, bonus = self._is_ranked(i), self._bonus(i)
        if not can_meet([quota.among(is_open) for quota in quotas], size):
            # Larger than any gain, so other records are selected only for a quota.
            bonus += np.where(is_open, float(self._candidates.weights.sum()), 0.0)
            is_open = np.ones_like(self._is_left)
        self._add(size, np.flatnonzero(is_open), bonus, [quota.among(is_open) for quota in quotas])

    def _is_ranked(self, i: int) -> NDArray[np.bool_]:
        """Return whether each record is in the ranks that are open in round `i`."""
        is_open: NDArray[np.bool_] = self._candidates.ranks <= i * self._shortlist
        return is_open

    def _bonus(self, i: int) -> NDArray[np.float64]:
        _, _, _, scores, sizes, vectors, weights, annotated = self._candidates
        m = len(vectors) - len(annotated)
        unit = judge_unit(vectors[:m], i * len(sizes), weights=weights[:m], seed=self._seed)
        return scores * (self._judge_weight * unit / i)

    def _add(
        self, n: int, places: Rows, bonus: NDArray[np.float64], quotas: Sequence[Quota]
    ) -> None:
        """Select `n` of the candidates at these places."""
        rows = self._candidates.rows[places]
        covering = np.concatenate([self._candidates.annotated, self.cover.rows])
        more = self._greedy(rows, n, bonus=bonus[places], groups=quotas, annotated=covering)
        self._is_left[places[np.isin(rows, more.rows)]] = False
        taken = np.concatenate([self.cover.rows, more.rows])
        self.cover = Cover(taken, np.concatenate([self.cover.gains, more.gains]))


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
