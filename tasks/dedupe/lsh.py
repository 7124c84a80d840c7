"""Which records meet: those that have a key in common, and those that such chains connect.

In a large pool chance meetings would connect nearly all records. So a key by which a record meets
only unlike ones, as far as their sketches tell, is made its own first.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.dedupe.minhash import Keys, Sketches

SMALL = 256  # records with one key, up to which each is held against each
DEVIATIONS = 4  # of an estimated similarity: one pair in ten thousand is misjudged
AT_ONCE = 65_536  # pairs


class _Sorted(NamedTuple):
    """The records in the order of one column's keys, and which have the key of the one before."""

    order: NDArray[np.int64]
    is_same: NDArray[np.bool_]


def part_unlike(keys: Keys, sketches: Sketches, threshold: float) -> None:
    """Make a key its record's own, in place, if the others that have it are all unlike.

    Unlike are those whose similarity, as estimated, is more than four standard deviations of the
    estimate below `threshold`. Keys that more than 256 records have are left as they are.
    """
    n_values = sketches.shape[1]
    least = threshold - DEVIATIONS * math.sqrt(threshold * (1 - threshold) / n_values)
    for column, (order, same) in zip(keys.T, _columns(keys), strict=True):
        run = np.cumsum(np.append(False, ~same))
        is_small = np.bincount(run)[run] <= SMALL
        meets_alike = ~is_small
        first = np.flatnonzero(is_small)
        for step in range(1, SMALL):
            first = first[: np.searchsorted(first, len(run) - step)]
            first = first[run[first] == run[first + step]]
            if not first.size:
                break
            alike = first[_agreement(sketches, order[first], order[first + step]) >= least]
            meets_alike[alike] = meets_alike[alike + step] = True
        alone = order[~meets_alike]
        column[alone] = alone


def circles_of(keys: Keys) -> NDArray[np.int64]:
    """For each record the first of its circle: int64, shape (n_records,).

    Records with an equal key in any column are in one circle, and so are those whom others
    connect. Who is in no circle with another has its own number. What becomes of a circle's
    records does not depend on those outside.
    """
    from scipy.sparse import coo_array  # noqa: PLC0415
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415

    n = len(keys)
    edges = [(order[:-1][same], order[1:][same]) for order, same in _columns(keys)]
    rows, columns = (np.concatenate(side) for side in zip(*edges, strict=True))
    graph = coo_array((np.ones(rows.size, dtype=np.bool_), (rows, columns)), shape=(n, n))
    labels = connected_components(graph, directed=False)[1]
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return first.astype(np.int64)[inverse]


def shared(keys: Keys) -> list[list[int]]:
    """For each record the numbers of the keys that it has in common with another.

    Equal keys of one column have one number, others different ones.
    """
    records, numbers, n_numbers = [], [], 0
    for order, same in _columns(keys):
        number = np.cumsum(np.append(True, ~same)) + n_numbers
        n_numbers = int(number[-1])
        is_shared = np.append(same, False) | np.append(False, same)
        records.append(order[is_shared])
        numbers.append(number[is_shared])
    owners = np.concatenate(records)
    order = np.argsort(owners, kind="stable")
    bounds = np.searchsorted(owners[order], np.arange(1, len(keys)))
    return [part.tolist() for part in np.split(np.concatenate(numbers)[order], bounds)]


def _agreement(
    sketches: Sketches, one: NDArray[np.int64], other: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The share of equal values in each pair of sketches: float64, shape (n_pairs,)."""
    counts = [
        np.count_nonzero(sketches[one[i : i + AT_ONCE]] == sketches[other[i : i + AT_ONCE]], axis=1)
        for i in range(0, one.size, AT_ONCE)
    ]
    shares: NDArray[np.float64] = np.concatenate(counts) / sketches.shape[1]
    return shares


def _columns(keys: Keys) -> Iterator[_Sorted]:
    for column in keys.T:
        order = np.argsort(column, kind="stable")
        ordered = column[order]
        yield _Sorted(order, ordered[1:] == ordered[:-1])
