"""Compute what each candidate can still add to a pool's coverage, from a sparse table of cosines.

A row's cosine to its nearest selected record only grows. So a candidate with a smaller cosine to
the row can never add coverage there, and the table leaves that cosine out.
"""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tasks.lib.similarity.cosine import Rows, Vectors, blocks

Floats = NDArray[np.float64]


class Covered(NamedTuple):
    """The rows to cover.

    Attributes:
        vectors: float32, shape (m, d).
        weights: float32, shape (m,), summing to 1.
        best: float32, shape (m,), cosine of each row to the nearest selected record, at least 0;
            updated when a record is selected.
    """

    vectors: Vectors
    weights: NDArray[np.float32]
    best: NDArray[np.float32]


class GainTable:
    """The candidates' cosines to the rows, where they exceed those of the selected records."""

    def __init__(
        self, covered: Covered, starts: Rows, rows: NDArray[np.int32], cosines: Vectors
    ) -> None:
        self._covered = covered
        self._starts, self._rows, self._cosines = starts, rows, cosines

    @classmethod
    def of(cls, covered: Covered, candidates: Vectors) -> Self:
        """Build the table for candidates: float32, shape (c, d)."""
        sizes, rows, cosines = [], [], []
        for part in blocks(len(candidates), len(covered.vectors)):
            table = candidates[part] @ covered.vectors.T
            is_above = table > covered.best
            sizes.append(is_above.sum(axis=1))
            rows.append(np.nonzero(is_above)[1].astype(np.int32))
            cosines.append(table[is_above])
        starts = np.concatenate([[0], np.cumsum(np.concatenate(sizes))])
        return cls(covered, starts, np.concatenate(rows), np.concatenate(cosines))

    def gain(self, place: int) -> float:
        """Return how much a candidate would now add to the mean coverage."""
        rows, cosines = self._entries(place)
        added = np.maximum(cosines - self._covered.best[rows], 0)
        return float((added * self._covered.weights[rows]).sum(dtype=np.float64))

    def select(self, place: int) -> None:
        """Select a candidate; from now on it covers the rows to which it is the nearest."""
        rows, cosines = self._entries(place)
        self._covered.best[rows] = np.maximum(self._covered.best[rows], cosines)

    def _entries(self, place: int) -> tuple[NDArray[np.int32], Vectors]:
        part = slice(self._starts[place], self._starts[place + 1])
        return self._rows[part], self._cosines[part]
