"""Find near-duplicates: records that ask for the same thing in almost the same words."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.dedupe.lsh import number_shared_keys
from tasks.dedupe.minhash import Fields, Keys
from tasks.lib.text.meaning import Meaning
from tasks.lib.text.shingles import batches, field_texts, jaccard, shingles

MAX_CANDIDATES = 64


class NearestRecord(NamedTuple):
    """The number of the nearest record, and the Jaccard similarity of the less similar field."""

    number: int
    similarity: float


class NearIndex:
    """An index that finds, for each record, the most similar record added earlier.

    Two records are near-duplicates if the shingles of their instructions and those of their inputs
    each have a Jaccard similarity of at least the threshold, and `Meaning` finds only harmless
    differences. The fields are compared separately, since two questions about the same long input
    share nearly all shingles.

    Only records with a key in common are compared. With MinHash keys, at most 0.2 % of the pairs at
    the threshold are missed, and fewer above it. The comparison itself is exact, so there are no
    false positives.
    """

    def __init__(
        self, records: Sequence[Fields], keys: Keys, threshold: float, adds_near: bool
    ) -> None:
        self._records, self._threshold, self._adds_near = records, threshold, adds_near
        self._shared_keys = number_shared_keys(keys)
        self._added: defaultdict[int, list[int]] = defaultdict(list)  # key number -> records
        self._sets = _shingle_sets(records)
        self._meanings: dict[int, Meaning] = {}

    def nearest_or_add(self, number: int) -> NearestRecord | None:
        """Return the nearest added record (the first if tied); if there is none, add this record.

        With `adds_near`, the record is added in either case. But a record with 64 candidates or
        more is never added; otherwise, thousands of records from one template would all be compared
        with each other.
        """
        candidates = self._candidates(number)
        nearest = self._nearest(number, candidates)
        if (nearest is None or self._adds_near) and len(candidates) < MAX_CANDIDATES:
            self.add(number)
        return nearest

    def nearest(self, number: int) -> NearestRecord | None:
        """Return the nearest added record (the first if tied), or None; add nothing."""
        return self._nearest(number, self._candidates(number))

    def add(self, number: int) -> None:
        """Add a record, even if another record is near it."""
        for key in self._shared_keys[number]:
            self._added[key].append(number)

    def _candidates(self, number: int) -> set[int]:
        return {other for key in self._shared_keys[number] for other in self._added[key]}

    def _nearest(self, number: int, candidates: set[int]) -> NearestRecord | None:
        nearest: NearestRecord | None = None
        for other in sorted(candidates):
            similarity = self._similarity(number, other)
            if similarity < self._threshold or (nearest and similarity <= nearest.similarity):
                continue
            if self._meaning_of(number).agrees_with(self._meaning_of(other)):
                nearest = NearestRecord(other, similarity)
        return nearest

    def _similarity(self, a: int, b: int) -> float:
        """Return the similarity of the less similar field; stop at a field below the threshold."""
        lowest = 1.0
        for shingles_a, shingles_b in zip(self._sets[a], self._sets[b], strict=True):
            lowest = min(lowest, jaccard(shingles_a, shingles_b))
            if lowest < self._threshold:
                break
        return lowest

    def _meaning_of(self, number: int) -> Meaning:
        if number not in self._meanings:
            self._meanings[number] = Meaning(*self._records[number])
        return self._meanings[number]


def _shingle_sets(records: Sequence[Fields]) -> list[tuple[NDArray[np.uint64], ...]]:
    """Return, for each record, the distinct shingles of its two fields, ascending."""
    sets = []
    for batch in batches(records):
        hashes, bounds = shingles(field_texts(batch))
        sets += [_unique(hashes[start:end]) for start, end in pairwise(bounds.tolist())]
    return list(zip(sets[::2], sets[1::2], strict=True))


def _unique(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the result of np.unique, in a third of the time for short arrays."""
    ordered = np.sort(hashes)
    is_new = np.ones(ordered.size, dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=is_new[1:])
    return ordered[is_new]
