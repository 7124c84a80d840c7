"""Run the nearest-neighbour probe: how well do a selection's outputs answer the rest of the pool?

The probe answers a record's instruction with the output of the nearest selected record. It needs no
training and has no seed, so the figures of two selections differ only because of their records.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.lib.similarity.cosine import Rows, Vectors, nearest_in_prefixes
from tasks.lib.similarity.lsa import tf_idf
from tasks.lib.similarity.words import Words, rouge_l, words
from tasks.measure.intervals import Figure, Mean

MIN_OUTPUTS = 20  # with fewer in the pool, the figures would mean nothing


def with_output(outputs: Sequence[str | None]) -> Rows:
    """Return the rows that have an output, or no rows if there are too few for a measurement."""
    rows = np.flatnonzero([bool(output) for output in outputs])
    return rows if len(rows) >= MIN_OUTPUTS else rows[:0]


class KnnProbe:
    """Test questions that are the same for every selection.

    Attributes:
        n_answered: Number of records with an output; 0 if there are too few for a measurement.
        test: intp, ascending, the rows of the questions, drawn from the records with an output.
    """

    def __init__(self, outputs: Sequence[str | None], n_test: int, seed: int) -> None:
        answered = with_output(outputs)
        self.n_answered = len(answered)
        # A separate stream: otherwise the random method would select the same records.
        self.test: Rows = np.sort(np.random.default_rng((seed, 2)).permutation(answered)[:n_test])
        self._has_output = np.isin(np.arange(len(outputs)), answered)
        self._texts = [output or "" for output in outputs]
        self._words: dict[int, Words] = {}  # in the outputs that have been compared
        self._terms: Any = None
        self._expected_terms: Any = None
        if self.test.size:
            self._terms = tf_idf(self._texts)
            self._expected_terms = self._terms[self.test]

    def figures(
        self, vectors: Vectors, selected: Rows, sizes: Sequence[int]
    ) -> list[dict[str, Figure]]:
        """Return, for each prefix of a selection, the ROUGE-L and cosine of the probe's answers.

        A record is never its own answer: if it is selected, the next nearest record answers. So
        every selection gets the same questions, including those about its own records. A prefix
        with fewer than 2 outputs has no figures.

        Args:
            vectors: float32, shape (n, d), the space in which the probe finds the nearest record.
            selected: Rows of the selection; those without an output are not used.
            sizes: Sizes of the prefixes, ascending.
        """
        return [
            {}
            if copied is None
            else {
                "knn_probe_rouge_l": Mean(scores),
                "knn_probe_cosine": Mean(self._cosines(copied)),
            }
            for copied, scores in self._answers(vectors, selected, sizes)
        ]

    def rouge_l(
        self, vectors: Vectors, selected: Rows, sizes: Sequence[int]
    ) -> NDArray[np.float64]:
        """Return, for each prefix, the ROUGE-L of each answer: shape (sizes, questions).

        The values are 0 for a prefix with fewer than 2 outputs.
        """
        return np.array([scores for _, scores in self._answers(vectors, selected, sizes)])

    def _answers(
        self, vectors: Vectors, selected: Rows, sizes: Sequence[int]
    ) -> Iterator[tuple[Rows | None, NDArray[np.float64]]]:
        """Yield, for each prefix, the rows of the outputs it copies (or None) and their ROUGE-L."""
        is_answer = self._has_output[selected]
        answers, counts = selected[is_answer], is_answer.cumsum()
        own_answer = np.full(len(self._has_output), -1, np.intp)
        own_answer[answers] = np.arange(len(answers))
        n_answers = [int(counts[n - 1]) if self.test.size else 0 for n in sizes]
        found = nearest_in_prefixes(
            vectors[self.test], vectors[answers], [n for n in n_answers if n > 1],
            own_answer[self.test],
        )  # fmt: skip
        copied = np.full(len(self.test), -1, np.intp)
        scores = np.zeros(len(self.test))
        for n in n_answers:
            if n < 2:
                yield None, scores
                continue
            previous, copied = copied, answers[next(found).places]
            changed = np.flatnonzero(copied != previous)
            scores = scores.copy()
            scores[changed] = rouge_l(
                self._tokenized(copied[changed]), self._tokenized(self.test[changed])
            )
            yield copied, scores

    def _cosines(self, copied: Rows) -> NDArray[np.float64]:
        products = self._terms[copied].multiply(self._expected_terms)
        return np.asarray(products.sum(axis=1), np.float64).ravel()

    def _tokenized(self, rows: Rows) -> list[Words]:
        for row in rows.tolist():
            if row not in self._words:
                self._words[row] = words(self._texts[row])
        return [self._words[row] for row in rows.tolist()]
