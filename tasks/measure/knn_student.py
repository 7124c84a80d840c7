"""The nearest-neighbour student: what a selection would teach one who can only copy.

Asked for a record's answer it gives the output of the nearest selected record. No training, no
luck of a seed: what differs between two selections is what they hold.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tasks.lib.similarity.cosine import Rows, Vectors, nearest
from tasks.lib.similarity.lsa import tf_idf
from tasks.lib.similarity.words import rouge_l, words
from tasks.measure.intervals import Figure, Mean

MIN_OUTPUTS = 20  # with fewer in the pool nothing can be said


class Exam:
    """Questions that are the same for every selection.

    Attributes:
        test: intp, the rows of the questions, ascending; empty if the pool has too few outputs.
    """

    def __init__(self, outputs: Sequence[str | None], n_test: int, seed: int) -> None:
        answered = np.flatnonzero([bool(output) for output in outputs])
        if len(answered) < MIN_OUTPUTS:
            answered = answered[:0]
        # A stream of its own: else it would be what the method random selects with that seed.
        drawn = np.random.default_rng((seed, 2)).permutation(answered)[:n_test]
        self.test: Rows = np.sort(drawn)
        self._is_answered = np.isin(np.arange(len(outputs)), answered)
        self._texts = [output or "" for output in outputs]
        self._wanted = [words(self._texts[row]) for row in self.test.tolist()]
        self._terms: Any = None
        self._wanted_terms: Any = None
        if self.test.size:
            self._terms = tf_idf(self._texts)
            self._wanted_terms = self._terms[self.test]

    def figures(self, vectors: Vectors, selected: Rows) -> dict[str, Figure]:
        """ROUGE-L and cosine of the student's answers, or nothing where there are no outputs.

        A record is never its own answer: if it is selected, the next nearest answers. So every
        selection is asked the same questions, also those about what it holds.

        Args:
            vectors: float32, shape (n, d), the space in which the student looks for the nearest.
            selected: Rows of the selection; those without an output teach nothing.
        """
        known = selected[self._is_answered[selected]]
        if not self.test.size or len(known) < 2:
            return {}
        never = np.full(len(self._is_answered), -1, np.intp)
        never[known] = np.arange(len(known))
        copied = known[nearest(vectors[self.test], vectors[known], never[self.test]).places]
        given = [words(self._texts[row]) for row in copied.tolist()]
        cosines = self._terms[copied].multiply(self._wanted_terms).sum(axis=1)
        return {
            "student_rouge_l": Mean(rouge_l(given, self._wanted)),
            "student_cosine": Mean(np.asarray(cosines, np.float64).ravel()),
        }
