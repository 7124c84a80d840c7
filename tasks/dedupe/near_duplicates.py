"""Near-duplicates: records that ask the same in almost the same words."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.dedupe.lsh import shared
from tasks.dedupe.minhash import Fields, Keys
from tasks.lib.text.shingles import batches, jaccard, shingles
from tasks.lib.text.word_changes import Meaning

CROWD = 64


class Near(NamedTuple):
    """An earlier record that says the same, and the lesser Jaccard similarity of the two fields."""

    number: int
    similarity: float


class NearIndex:
    """Finds for each of a list of records the most similar one that was added before it.

    Two records are near when the shingles of their instructions and those of their inputs each
    have a Jaccard similarity of at least the threshold, their numbers are the same in the same
    order, and no word of one is exchanged for a different word in the other. The fields count
    apart because two questions about one long input have nearly all shingles in common.

    Only records that have a key in common are compared. With those of MinHash, at most 0.2 % of
    the pairs at the threshold go unseen, fewer above it; what is compared is compared exactly, so
    none is taken for near that is not.
    """

    def __init__(self, records: Sequence[Fields], keys: Keys, threshold: float) -> None:
        self._records, self._threshold = records, threshold
        self._shared = shared(keys)
        self._added: defaultdict[int, list[int]] = defaultdict(list)  # number of a key -> records
        self._sets = _sets(records)
        self._meanings: dict[int, Meaning] = {}

    def nearest_or_add(self, number: int) -> Near | None:
        """The nearest added record, of equals the first; or None, and this record is added.

        It is not added where it has 64 look-alikes and none is near, as in a pool made from one
        template: each of thousands would be compared with each.
        """
        look_alikes = {other for key in self._shared[number] for other in self._added[key]}
        nearest: Near | None = None
        for other in sorted(look_alikes):
            similarity = self._similarity(number, other)
            if similarity < self._threshold or (nearest and similarity <= nearest.similarity):
                continue
            if self._meaning(number).agrees(self._meaning(other)):
                nearest = Near(other, similarity)
        if nearest is None and len(look_alikes) < CROWD:
            for key in self._shared[number]:
                self._added[key].append(number)
        return nearest

    def _similarity(self, one: int, other: int) -> float:
        """That of the less similar field, or of the first that is below the threshold."""
        lesser = 1.0
        for a, b in zip(self._sets[one], self._sets[other], strict=True):
            lesser = min(lesser, jaccard(a, b))
            if lesser < self._threshold:
                break
        return lesser

    def _meaning(self, number: int) -> Meaning:
        if number not in self._meanings:
            self._meanings[number] = Meaning.of(" ".join(self._records[number]))
        return self._meanings[number]


def _sets(records: Sequence[Fields]) -> list[tuple[NDArray[np.uint64], ...]]:
    """For each record the distinct shingles of its two fields, ascending."""
    sets = []
    for batch in batches(records):
        hashes, bounds = shingles([text for fields in batch for text in fields])
        sets += [_distinct(hashes[a:b]) for a, b in pairwise(bounds.tolist())]
    return list(zip(sets[::2], sets[1::2], strict=True))


def _distinct(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """As np.unique, in a third of the time for as few as these."""
    ordered = np.sort(hashes)
    is_new = np.ones(ordered.size, dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=is_new[1:])
    return ordered[is_new]
