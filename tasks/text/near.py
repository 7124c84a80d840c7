"""Near-duplicates: records that ask the same in almost the same words."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tasks.text.meaning import Meaning
from tasks.text.minhash import Fields, LookAlikes, bands_for, meets_another, signatures
from tasks.text.shingles import jaccard, shingles

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

    MinHash finds the pairs to compare and misses at most 0.2 % of those at the threshold, fewer
    above it; what it finds is compared exactly, so none is taken for near that is not.
    """

    def __init__(self, records: Sequence[Fields], threshold: float, n_permutations: int) -> None:
        self._records, self._threshold = records, threshold
        bands = bands_for(threshold, n_permutations)
        self._signatures = signatures(records, n_permutations)
        self._meets = meets_another(self._signatures, bands)
        self._look_alikes = LookAlikes(bands, n_permutations)
        self._added: dict[int, _Compared] = {}

    def nearest_or_add(self, number: int) -> Near | None:
        """The nearest added record, of equals the first; or None, and this record is added.

        It is not added where it has 64 look-alikes and none is near, as in a pool made from one
        template: each of thousands would be compared with each.
        """
        if not self._meets[number]:
            return None
        look_alikes = self._look_alikes.of(self._signatures[number])
        record = _Compared.of(self._records[number])
        nearest: Near | None = None
        for other in look_alikes:
            similarity = record.similarity(self._added[other])
            if similarity < self._threshold or (nearest and similarity <= nearest.similarity):
                continue
            if record.meaning.agrees(self._added[other].meaning):
                nearest = Near(other, similarity)
        if nearest is None and len(look_alikes) < CROWD:
            self._added[number] = record
            self._look_alikes.add(number, self._signatures[number])
        return nearest


class _Compared(NamedTuple):
    """A record made ready to be compared with many."""

    shingles: tuple[NDArray[np.uint64], ...]
    meaning: Meaning

    @classmethod
    def of(cls, fields: Fields) -> Self:
        sets = tuple(np.unique(shingles([text]).hashes) for text in fields)
        return cls(sets, Meaning.of(" ".join(fields)))

    def similarity(self, other: Self) -> float:
        return min(map(jaccard, self.shingles, other.shingles))
