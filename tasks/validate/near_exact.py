"""Search a selection exhaustively for near-duplicates, by the same criteria as dedupe.

MinHash, which dedupe uses on the whole pool, may miss a pair. A selection is small enough for an
exact search, and a check must not share the weakness that it looks for.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.lib.text.meaning import Meaning
from tasks.lib.text.shingles import field_texts, jaccard, shingles

Hashes = NDArray[np.uint64]
"""uint64, shape (n,), ascending, distinct."""


class NearDuplicate(NamedTuple):
    """The number of an earlier near-duplicate, and the similarity of the less similar field."""

    number: int
    similarity: float


def find_near_duplicates(
    records: Sequence[tuple[str, str]], threshold: float
) -> list[NearDuplicate | None]:
    """Return the most similar earlier near-duplicate of each record, or None.

    The criteria are those of the dedupe step: the shingles of the instructions and those of the
    inputs each have a Jaccard similarity of at least `threshold`, and `Meaning` finds only harmless
    differences. If several near-duplicates are equally similar, the first is returned.

    Args:
        records: The instruction and input of each record, as returned by `comparable`.
        threshold: Above 0, at most 1.
    """
    hashes = list(map(_hashes, field_texts(records)))
    sets = list(zip(hashes[::2], hashes[1::2], strict=True))
    nearest: list[NearDuplicate | None] = [None] * len(records)
    # The union of both fields' shingles is at least as similar as the less similar field.
    for i, j in _candidates([np.union1d(a, ~b) for a, b in sets], threshold):
        similarity = min(map(jaccard, sets[i], sets[j]))
        best = nearest[i]
        better = similarity >= threshold and (best is None or similarity > best.similarity)
        if better and Meaning(*records[i]).agrees_with(Meaning(*records[j])):
            nearest[i] = NearDuplicate(j, similarity)
    return nearest


def _candidates(sets: Sequence[Hashes], threshold: float) -> Iterator[tuple[int, int]]:
    """Yield, in order, every pair (i, j) with j < i that can be similar enough, and few others.

    If two sets share a fraction t of their union, then in any fixed order of elements they share
    one of the first |set| - ceil(t |set|) + 1 elements of each. If rare elements come first, few
    other pairs do.
    """
    if not sets:
        return
    distinct, counts = np.unique(np.concatenate(sets), return_counts=True)
    seen: defaultdict[int, list[int]] = defaultdict(list)
    for i, hashes in enumerate(sets):
        # Rounded first: 0.7 * 10 may be 7.000...1 in floats, and ceil would lose an element.
        n_first = hashes.size - math.ceil(round(threshold * hashes.size, 9)) + 1
        order = np.lexsort((hashes, counts[np.searchsorted(distinct, hashes)]))
        first = hashes[order[:n_first]].tolist()
        for j in sorted({j for element in first for j in seen[element]}):
            yield i, j
        for element in first:
            seen[element].append(i)


def _hashes(text: str) -> Hashes:
    return np.unique(shingles([text]).hashes)
