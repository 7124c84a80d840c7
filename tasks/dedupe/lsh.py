"""Find candidate pairs by locality-sensitive hashing, and the components that they form.

Two records are a candidate pair if they have a key in common. In a large pool, false candidates
would connect nearly all records. So if a record shares a key only with dissimilar records, judging
by their b-bit signatures, the key is first replaced with a unique key.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.dedupe.minhash import BBitSignatures, Keys

MAX_PRUNED_GROUP = 256  # records with the same key; in larger groups, comparing all pairs is slow
DEVIATIONS = 4  # standard deviations; one pair in ten thousand is misjudged
BATCH_PAIRS = 65_536


class _SortedColumn(NamedTuple):
    """The records sorted by one column of keys.

    Attributes:
        is_same: Whether each record after the first has the same key as the record before it.
    """

    order: NDArray[np.int64]
    is_same: NDArray[np.bool_]


def prune_false_candidates(keys: Keys, b_bits: BBitSignatures, threshold: float) -> None:
    """Make a key unique, in place, if a record shares it only with dissimilar records.

    Records are dissimilar if their estimated similarity is more than four standard deviations of
    the estimate below `threshold`. Keys shared by more than 256 records are left unchanged.
    """
    n_values = b_bits.shape[1]
    lowest = threshold - DEVIATIONS * math.sqrt(threshold * (1 - threshold) / n_values)
    for column, (order, is_same) in zip(keys.T, _sorted_columns(keys), strict=True):
        group = np.cumsum(np.append(False, ~is_same))
        is_small = np.bincount(group)[group] <= MAX_PRUNED_GROUP
        has_similar = ~is_small
        first = np.flatnonzero(is_small)
        for step in range(1, MAX_PRUNED_GROUP):
            first = first[: np.searchsorted(first, len(group) - step)]
            first = first[group[first] == group[first + step]]
            if not first.size:
                break
            similarity = _estimate_similarity(b_bits, order[first], order[first + step])
            similar = first[similarity >= lowest]
            has_similar[similar] = has_similar[similar + step] = True
        single = order[~has_similar]
        column[single] = single


def find_components(keys: Keys) -> NDArray[np.int64]:
    """Return, for each record, the first record of its component: int64, shape (n_records,).

    The components are the connected components of the graph of candidate pairs. A record without
    candidates is its own component. Components can be deduplicated independently.
    """
    from scipy.sparse import coo_array  # noqa: PLC0415
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415

    n = len(keys)
    edges = [(order[:-1][is_same], order[1:][is_same]) for order, is_same in _sorted_columns(keys)]
    rows, columns = (np.concatenate(side) for side in zip(*edges, strict=True))
    graph = coo_array((np.ones(rows.size, dtype=np.bool_), (rows, columns)), shape=(n, n))
    labels = connected_components(graph, directed=False)[1]
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return first.astype(np.int64)[inverse]


def number_shared_keys(keys: Keys) -> list[list[int]]:
    """Return, for each record, the numbers of the keys that it shares with other records.

    Equal keys in one column have the same number; all other keys have different numbers.
    """
    records, numbers, n_numbers = [], [], 0
    for order, is_same in _sorted_columns(keys):
        number = np.cumsum(np.append(True, ~is_same)) + n_numbers
        n_numbers = int(number[-1])
        is_shared = np.append(is_same, False) | np.append(False, is_same)
        records.append(order[is_shared])
        numbers.append(number[is_shared])
    owners = np.concatenate(records)
    order = np.argsort(owners, kind="stable")
    bounds = np.searchsorted(owners[order], np.arange(1, len(keys)))
    return [part.tolist() for part in np.split(np.concatenate(numbers)[order], bounds)]


def _estimate_similarity(
    b_bits: BBitSignatures, a: NDArray[np.int64], b: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the share of equal values in each pair (a[i], b[i]): float64, shape (n_pairs,)."""
    counts = [
        np.count_nonzero(b_bits[a[i : i + BATCH_PAIRS]] == b_bits[b[i : i + BATCH_PAIRS]], axis=1)
        for i in range(0, a.size, BATCH_PAIRS)
    ]
    shares: NDArray[np.float64] = np.concatenate(counts) / b_bits.shape[1]
    return shares


def _sorted_columns(keys: Keys) -> Iterator[_SortedColumn]:
    for column in keys.T:
        order = np.argsort(column, kind="stable")
        ordered = column[order]
        yield _SortedColumn(order, ordered[1:] == ordered[:-1])
