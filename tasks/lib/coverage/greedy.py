"""Select the records that cover a pool best, greedily and with a bonus for each record."""

import heapq
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from tasks.lib.coverage.gain_table import Covered, Floats, GainTable
from tasks.lib.coverage.quotas import Quota, Quotas
from tasks.lib.similarity.cosine import Rows, Vectors, nearest

MAX_COVERED = 50_000  # rows; a sample of that size has the same mean coverage, within 0.001
MAX_CELLS = 1 << 27  # cosines of candidates to rows that are computed before the first selection
UNIT_ROWS = 2_000
OPENING = 64  # selections before a larger table is built, which then has at most 1 cosine in 50


class Cover(NamedTuple):
    """A selection in greedy order.

    Attributes:
        rows: intp, shape (n,), rows of the vectors.
        gains: float64, shape (n,), how much each record added to the mean coverage when it was
            selected, not counting its bonus.
    """

    rows: Rows
    gains: Floats


def greedy(  # noqa: PLR0913  the parts of the objective
    vectors: Vectors,
    candidates: Rows,
    n: int,
    *,
    bonus: Floats | None = None,
    weights: Floats | None = None,
    annotated: Rows | None = None,
    groups: Sequence[Quota] = (),
    seed: int = 0,
) -> Cover:
    """Select `n` candidates, each time the one that adds the most to the objective.

    The objective of a selection S is the sum over all rows i of weight i times the greatest cosine
    of i to a record in S or `annotated`, with cosines below 0 counted as 0, plus the bonuses of S.
    It is monotone and submodular, so S reaches at least 1 - 1/e of the greatest increase possible.
    With quotas for one column at one size, it reaches at least half; for more quotas, no bound is
    known. Quotas are met exactly. Without quotas, a smaller selection is a prefix of a larger one.
    Ties go to the lower row. The result does not depend on the number of threads.

    In a pool of more than 50,000 rows, the objective is measured on a random sample of that size.
    If candidates times rows exceed 134 million, the first 64 records are the best of a random
    sample of candidates. The guaranteed share is then 1 - 1/e**(1 - 64 / n), which is
    0.62 at n = 2000.

    Args:
        vectors: float32, shape (m, d), of unit norm or zero.
        candidates: intp, shape (c,), distinct rows, none of them annotated; c at least n.
        n: Number of rows to select.
        bonus: float64, shape (c,), non-negative, in units of the objective; 0 if None.
        weights: float64, shape (m,), non-negative; 1 if None.
        annotated: intp, rows that count as selected from the start.
        groups: One quota per column, with the labels of `candidates` in the same order; the sizes
            of their counts end with `n`.
        seed: The seed for sampling from a large pool.

    Raises:
        UnmetQuotaError: No selection of n candidates meets the quotas.
    """
    order = np.argsort(candidates, kind="stable")
    rows = candidates[order]
    weights = np.ones(len(vectors)) if weights is None else weights
    total = float(weights.sum()) or 1.0
    quotas = Quotas([quota._replace(labels=quota.labels[order]) for quota in groups], n)
    search = _Search(
        np.zeros(len(rows)) if bonus is None else bonus[order] / total, quotas, len(rows)
    )
    rng = np.random.default_rng((seed, 4))
    with threadpool_limits(1):  # the last bits of a sum depend on the number of threads
        covered = _covered(vectors, weights, annotated, rng)
        turns = list(search.run(vectors, rows, covered, rng))
    places = np.array([place for place, _ in turns], np.intp)
    return Cover(rows[places], np.array([gain for _, gain in turns], np.float64))


def judge_unit(vectors: Vectors, n: int, *, weights: Floats | None = None, seed: int = 0) -> float:
    """Return the bonus that counts about as much as coverage, in units of the objective.

    It is the average gain in coverage over the second half of a selection of `n` records by
    coverage alone, measured on at most 2,000 random rows.

    Args:
        vectors: float32, shape (m, d), of unit norm or zero.
        n: Number of records, at least 1; all records if it is larger than m.
        weights: float64, shape (m,), the weight of each row; 1 if None.
        seed: The seed for drawing the random rows.
    """
    m = len(vectors)
    n = min(n, m)
    weights = np.ones(m) if weights is None else weights
    sample = np.sort(np.random.default_rng((seed, 5)).permutation(m)[:UNIT_ROWS])
    size = max(1, len(sample) * n // m)
    gains = greedy(vectors[sample], np.arange(len(sample)), size, weights=weights[sample]).gains
    return float(gains[size // 2 :].mean() * weights.sum()) * size / n


def _covered(
    vectors: Vectors, weights: Floats, annotated: Rows | None, rng: np.random.Generator
) -> Covered:
    """Return the rows to cover, with their coverage by the annotated records."""
    if len(vectors) > MAX_COVERED:
        sample = np.sort(rng.permutation(len(vectors))[:MAX_COVERED])
        measured, weights = vectors[sample], weights[sample]
    else:
        measured = vectors
    best = np.zeros(len(measured), np.float32)
    if annotated is not None and len(annotated):
        best = np.maximum(nearest(measured, vectors[annotated]).cosines, 0).astype(np.float32)
    return Covered(measured, (weights / (weights.sum() or 1.0)).astype(np.float32), best)


class _Search:
    """The remaining candidates, and upper bounds on their gains.

    Gains only shrink, so an earlier gain is an upper bound. A candidate's gain is recomputed only
    if its bound exceeds every known gain (lazy greedy).
    """

    def __init__(self, bonus: Floats, quotas: Quotas, n_candidates: int) -> None:
        self._bonus, self._quotas = bonus, quotas
        self._is_left = np.ones(n_candidates, np.bool_)

    def run(
        self, vectors: Vectors, rows: Rows, covered: Covered, rng: np.random.Generator
    ) -> Iterator[tuple[int, float]]:
        """Yield the places and gains of candidates up to the last size of the quotas."""
        n_selected = 0
        for size in self._quotas.sizes:
            yield from self._reach(vectors, rows, covered, size - n_selected, rng)
            n_selected = size

    def _reach(
        self, vectors: Vectors, rows: Rows, covered: Covered, n: int, rng: np.random.Generator
    ) -> Iterator[tuple[int, float]]:
        """Yield the places and gains of `n` selected candidates."""
        n_tried = MAX_CELLS // (2 * len(covered.vectors))
        is_large = len(rows) * len(covered.vectors) > MAX_CELLS and n_tried < len(rows)
        if is_large and self._is_left.all():
            tried = np.sort(rng.permutation(len(rows))[:n_tried])
            opening = list(self._turns(vectors, rows, covered, tried, min(n, OPENING)))
            yield from opening
            n -= len(opening)
        left = np.flatnonzero(self._is_left)
        yield from self._turns(vectors, rows, covered, left, n)

    def _turns(
        self, vectors: Vectors, rows: Rows, covered: Covered, tried: Rows, n: int
    ) -> Iterator[tuple[int, float]]:
        """Yield the place and the gain of each selected candidate: at most `n`, all in `tried`."""
        if not n:
            return
        table = GainTable.of(covered, vectors[rows[tried]])
        heap = [(-table.gain(i) - self._bonus[place], i, 0) for i, place in enumerate(tried)]
        heapq.heapify(heap)
        turn = 0
        while turn < n and heap:
            bound, i, computed = heapq.heappop(heap)
            place = int(tried[i])
            if computed < turn:
                value = table.gain(i) + self._bonus[place]
                heapq.heappush(heap, (-value, i, turn))
            elif self._quotas.take(place):
                self._is_left[place] = False
                table.select(i)
                turn += 1
                yield place, max(0.0, -bound - self._bonus[place])
