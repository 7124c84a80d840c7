"""Near-duplicates found exactly: every pair of a selection that dedupe would not have let stand.

MinHash, by which dedupe looks through the whole pool, may miss a pair. A selection is small
enough to be looked through with certainty, and a check must not share the fault it looks for.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.lib.text.shingles import jaccard, shingles
from tasks.lib.text.word_changes import WordsAndNumbers

Hashes = NDArray[np.uint64]
"""uint64, shape (n,), ascending, distinct."""


class Twin(NamedTuple):
    """An earlier record that says the same, and the lesser similarity of the two fields."""

    number: int
    similarity: float


def find_twins(records: Sequence[tuple[str, str]], threshold: float) -> list[Twin | None]:
    """For each record the earlier one most similar to it, if they are near; else None.

    Near is what it is to the step dedupe: the shingles of the instructions and those of the
    inputs have each a Jaccard similarity of `threshold` or more, the numbers are the same
    and no word is exchanged. Of equals, the first is named.

    Args:
        records: Normalised instruction and input of each.
        threshold: Above 0, at most 1.
    """
    sets = [tuple(map(_hashes, fields)) for fields in records]
    nearest: list[Twin | None] = [None] * len(records)
    # The fields' shingles as one set are never less similar than the less similar field.
    for i, j in _candidates([np.union1d(a, ~b) for a, b in sets], threshold):
        similarity = min(map(jaccard, sets[i], sets[j]))
        best = nearest[i]
        better = similarity >= threshold and (best is None or similarity > best.similarity)
        if better and _means_the_same(records[i], records[j]):
            nearest[i] = Twin(j, similarity)
    return nearest


def _candidates(sets: Sequence[Hashes], threshold: float) -> Iterator[tuple[int, int]]:
    """Every pair (i, j), j < i, that can be similar enough, and few others; in order.

    Two sets that share a part t of their union share one of the |set| - ceil(t |set|) + 1
    elements of either that come first in any one order; with rare ones first, few pairs meet.
    """
    if not sets:
        return
    distinct, counts = np.unique(np.concatenate(sets), return_counts=True)
    seen: defaultdict[int, list[int]] = defaultdict(list)
    for i, hashes in enumerate(sets):
        # Rounded first: 0.7 * 10 may be 7.000...1 to a computer, and ceil would lose an element.
        n_first = hashes.size - math.ceil(round(threshold * hashes.size, 9)) + 1
        order = np.lexsort((hashes, counts[np.searchsorted(distinct, hashes)]))
        first = hashes[order[:n_first]].tolist()
        for j in sorted({j for element in first for j in seen[element]}):
            yield i, j
        for element in first:
            seen[element].append(i)


def _hashes(text: str) -> Hashes:
    return np.unique(shingles([text]).hashes)


def _means_the_same(a: tuple[str, str], b: tuple[str, str]) -> bool:
    return WordsAndNumbers.of(" ".join(a)).agree_with(WordsAndNumbers.of(" ".join(b)))
