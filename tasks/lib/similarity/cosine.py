"""Compute cosines between many unit vectors, in blocks to limit memory use."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Rows = NDArray[np.intp]

BLOCK_CELLS = 1 << 24  # cosines in memory at a time, 64 MB


class Nearest(NamedTuple):
    """The nearest other vector of each vector.

    Attributes:
        places: intp, shape (n,), the row of the nearest; the first if several are equally near.
        cosines: float64, shape (n,), from -1 to 1.
    """

    places: Rows
    cosines: NDArray[np.float64]


def blocks(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Split `n_rows` rows of `n_columns` cells into slices of at most BLOCK_CELLS cells."""
    step = max(1, BLOCK_CELLS // max(1, n_columns))
    return (slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step))


def nearest(vectors: Vectors, others: Vectors, excluded: Rows | None = None) -> Nearest:
    """Return the nearest of `others` to each vector, by cosine.

    Args:
        vectors: float32, shape (n, d), of unit norm or zero.
        others: float32, shape (m, d), of unit norm or zero; m at least 1.
        excluded: intp, shape (n,), for each vector the row of `others` to ignore, or -1. If no
            other row is left, the vector gets the last row and the cosine -1.
    """
    places = np.empty(len(vectors), np.intp)
    cosines = np.empty(len(vectors), np.float64)
    for part in blocks(len(vectors), len(others)):
        table = vectors[part] @ others.T
        if excluded is not None:
            affected = np.flatnonzero(excluded[part] >= 0)
            table[affected, excluded[part][affected]] = -2
        places[part] = table.argmax(axis=1)
        cosines[part] = np.clip(table[np.arange(len(table)), places[part]], -1, 1)
    return Nearest(places, cosines)


def nearest_in_prefixes(
    vectors: Vectors, others: Vectors, sizes: Sequence[int], excluded: Rows | None = None
) -> Iterator[Nearest]:
    """Yield, for each size, every vector's nearest neighbour among the first rows of `others`.

    Each cosine is computed only once.

    Args:
        vectors: float32, shape (n, d), of unit norm or zero.
        others: float32, shape (m, d), of unit norm or zero.
        sizes: Ascending, from 1 to m.
        excluded: As for `nearest`.
    """
    found = Nearest(np.zeros(len(vectors), np.intp), np.full(len(vectors), -np.inf))
    start = 0
    for size in sizes:
        inside = None
        if excluded is not None:
            is_inside = (excluded >= start) & (excluded < size)
            inside = np.where(is_inside, excluded - start, -1)
        if size > start:
            found = _nearer(found, nearest(vectors, others[start:size], inside), start)
            start = size
        yield found


def _nearer(old: Nearest, new: Nearest, start: int) -> Nearest:
    """Keep the nearer of old and new neighbours; new places are counted from row `start`."""
    is_nearer = new.cosines > old.cosines
    return Nearest(
        np.where(is_nearer, new.places + start, old.places),
        np.where(is_nearer, new.cosines, old.cosines),
    )


def unit(vectors: NDArray[np.floating]) -> Vectors:
    """Scale vectors to length 1, as float32; vectors of near-zero length become zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(norms > 1e-6, vectors / np.maximum(norms, 1e-6), 0).astype(np.float32)
