"""All that selections are measured with, made once for a pool."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tasks.lib.similarity.corpus import Corpus
from tasks.lib.similarity.cosine import Vectors
from tasks.lib.similarity.lsa import lexical_space
from tasks.measure.knn_student import Exam
from tasks.measure.text_metrics import codes_of, length_bands, script

MAX_POOL = 50_000  # records to be covered; of more so many are drawn, which bounds time and memory


class Rulers(NamedTuple):
    """The same for every selection, so that their figures can be compared.

    Attributes:
        texts: Of all records.
        spaces: Vectors of all records by the name of the space: float32, unit norm.
        labels: What kind of text each record is, by the name of the kinds: intp, from 0.
        covered: The same of the records to be covered, in each space.
        exam: What the student is asked.
    """

    texts: Sequence[str]
    spaces: Mapping[str, Vectors]
    labels: Mapping[str, NDArray[np.intp]]
    covered: Mapping[str, Vectors]
    exam: Exam

    @classmethod
    def of(
        cls, corpus: Corpus, dimensions: int, columns: Sequence[str], n_test: int, seed: int
    ) -> Self:
        """The rulers for a corpus.

        Args:
            corpus: The records.
            dimensions: Of the space of words.
            columns: Of `extra`, whose shares are compared; one that no record has is left out.
            n_test: How many questions to ask, if so many records have outputs.
            seed: Of what is drawn: projection, questions, records to be covered.
        """
        spaces = {
            "words": lexical_space(corpus.texts, dimensions, seed),
            "vectors": corpus.vectors,
        }
        # A stream of its own: else it would be what the method random selects with that seed.
        drawn = np.sort(np.random.default_rng((seed, 1)).permutation(len(corpus.ids))[:MAX_POOL])
        is_all = len(drawn) == len(corpus.ids)
        return cls(
            texts=corpus.texts,
            spaces=spaces,
            covered=spaces if is_all else {name: v[drawn] for name, v in spaces.items()},
            labels=_labels(corpus, columns),
            exam=Exam(corpus.outputs, n_test, seed),
        )


def _labels(corpus: Corpus, columns: Sequence[str]) -> dict[str, NDArray[np.intp]]:
    found = {name: corpus.column(name) for name in columns}
    return {
        **{name: codes_of(labels) for name, labels in found.items() if any(labels)},
        "length": length_bands(corpus.texts),
        "script": codes_of([script(text) for text in corpus.texts]),
    }
