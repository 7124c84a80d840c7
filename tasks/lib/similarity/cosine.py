"""Cosines between many unit vectors, a block at a time, so that no square matrix is ever held."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Rows = NDArray[np.intp]

BLOCK_CELLS = 1 << 24  # cosines held at a time, 64 MB


class Nearest(NamedTuple):
    """For each vector its nearest one among others.

    Attributes:
        places: intp, shape (n,), where among the others; of equals the first.
        cosines: float64, shape (n,), from -1 to 1.
    """

    places: Rows
    cosines: NDArray[np.float64]


def blocks(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Slices of 0..n_rows, such that each with `n_columns` columns is a block of fair size."""
    step = max(1, BLOCK_CELLS // max(1, n_columns))
    return (slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step))


def nearest(vectors: Vectors, others: Vectors, never: Rows | None = None) -> Nearest:
    """For each vector the nearest of `others`, by cosine.

    Args:
        vectors: float32, shape (n, d), of unit norm or zero.
        others: float32, shape (m, d), the same; m at least 1.
        never: intp, shape (n,): a place among the others that vector i may not have, or -1. A
            vector that is left with none gets the last place and the cosine -1.
    """
    places = np.empty(len(vectors), np.intp)
    cosines = np.empty(len(vectors), np.float64)
    for part in blocks(len(vectors), len(others)):
        table = vectors[part] @ others.T
        if never is not None:
            barred = np.flatnonzero(never[part] >= 0)
            table[barred, never[part][barred]] = -2
        places[part] = table.argmax(axis=1)
        cosines[part] = np.clip(table[np.arange(len(table)), places[part]], -1, 1)
    return Nearest(places, cosines)


def unit(vectors: NDArray[np.floating]) -> Vectors:
    """The vectors at length 1 as float32, and those of hardly any length as zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(norms > 1e-6, vectors / np.maximum(norms, 1e-6), 0).astype(np.float32)
