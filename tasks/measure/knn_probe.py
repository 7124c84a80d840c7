"""The nearest-neighbour probe: how well a selection's outputs answer the rest of the pool.

Asked a record's instruction, the probe answers with the output of the nearest selected record. It
needs no training and has no seed, so two selections differ only by their records.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tasks.lib.similarity.cosine import Rows, Vectors, nearest
from tasks.lib.similarity.lsa import tf_idf
from tasks.lib.similarity.words import rouge_l, words
from tasks.measure.intervals import Figure, Mean

MIN_OUTPUTS = 20  # with fewer in the pool, the figures would mean nothing


class KnnProbe:
    """Test questions that are the same for every selection.

    Attributes:
        test: intp, ascending, the rows of the questions; empty if the pool has too few outputs.
    """

    def __init__(self, outputs: Sequence[str | None], n_test: int, seed: int) -> None:
        answered = np.flatnonzero([bool(output) for output in outputs])
        if len(answered) < MIN_OUTPUTS:
            answered = answered[:0]
        # A stream of its own: otherwise the method random would select the same records.
        self.test: Rows = np.sort(np.random.default_rng((seed, 2)).permutation(answered)[:n_test])
        self._has_output = np.isin(np.arange(len(outputs)), answered)
        self._texts = [output or "" for output in outputs]
        self._expected = [words(self._texts[row]) for row in self.test.tolist()]
        self._terms: Any = None
        self._expected_terms: Any = None
        if self.test.size:
            self._terms = tf_idf(self._texts)
            self._expected_terms = self._terms[self.test]

    def figures(self, vectors: Vectors, selected: Rows) -> dict[str, Figure]:
        """Return ROUGE-L and cosine of the probe's answers; empty if there are too few outputs.

        A record is never its own answer: if it is selected, the next nearest record answers. So
        every selection is asked the same questions, including those about its own records.

        Args:
            vectors: float32, shape (n, d), the space in which the probe finds the nearest record.
            selected: Rows of the selection; those without an output are not used.
        """
        answers = selected[self._has_output[selected]]
        if not self.test.size or len(answers) < 2:
            return {}
        own_answer = np.full(len(self._has_output), -1, np.intp)
        own_answer[answers] = np.arange(len(answers))
        neighbours = nearest(vectors[self.test], vectors[answers], own_answer[self.test])
        copied = answers[neighbours.places]
        given = [words(self._texts[row]) for row in copied.tolist()]
        cosines = self._terms[copied].multiply(self._expected_terms).sum(axis=1)
        return {
            "knn_probe_rouge_l": Mean(rouge_l(given, self._expected)),
            "knn_probe_cosine": Mean(np.asarray(cosines, np.float64).ravel()),
        }
