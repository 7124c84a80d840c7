"""Compute the metrics of selections in one vector space."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tasks.lib.similarity.cosine import Rows, Vectors, nearest_in_prefixes
from tasks.measure.intervals import Figure
from tasks.measure.vector_metrics import gaps, vector_metrics


class Space(NamedTuple):
    """The vectors of all records in one space.

    Attributes:
        vectors: float32, shape (n, d), of unit norm or zero; row i is record i.
        covered: float32, shape (m, d), the vectors of the records to be covered.
        has_text: bool, shape (n,), whether a record has the text that the space compares. A record
            without it is not covered and covers nothing.
    """

    vectors: Vectors
    covered: Vectors
    has_text: NDArray[np.bool_]

    @classmethod
    def of(cls, vectors: Vectors, has_text: NDArray[np.bool_], drawn: Rows) -> Self:
        """Return a space in which the `drawn` rows that have a text are to be covered."""
        rows = drawn[has_text[drawn]]
        is_all = len(rows) == len(vectors)
        return cls(vectors, vectors if is_all else vectors[rows], has_text)

    def figures(self, selected: Rows, sizes: Sequence[int]) -> list[dict[str, Figure]]:
        """Return the figures of each prefix of a selection, given the prefix sizes.

        A prefix has no figures if none of its records has a text.
        """
        rows, counts = self._with_text(selected, sizes)
        chosen = self.vectors[rows]
        found = nearest_in_prefixes(self.covered, chosen, [n for n in counts if n])
        return [vector_metrics(next(found), chosen[:n]) if n else {} for n in counts]

    def gaps(self, selected: Rows, sizes: Sequence[int]) -> NDArray[np.float64]:
        """Return the distance from each covered record to each prefix: shape (sizes, m).

        If no record in the prefix has a text, the distance is the square root of 2, as for records
        that have nothing in common.
        """
        rows, counts = self._with_text(selected, sizes)
        found = nearest_in_prefixes(self.covered, self.vectors[rows], [n for n in counts if n])
        none = np.full(len(self.covered), np.sqrt(2))
        return np.array([gaps(next(found).cosines) if n else none for n in counts])

    def _with_text(self, selected: Rows, sizes: Sequence[int]) -> tuple[Rows, list[int]]:
        """Return the selected rows that have a text, and how many of them each prefix contains."""
        is_kept = self.has_text[selected]
        counts = is_kept.cumsum()
        return selected[is_kept], [int(counts[n - 1]) for n in sizes]
