"""The data that every selection of a pool is measured against."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tasks.lib.similarity.corpus import Corpus
from tasks.lib.similarity.cosine import Vectors
from tasks.lib.similarity.lsa import lexical_space
from tasks.measure.knn_probe import KnnProbe
from tasks.measure.text_metrics import codes_of, length_bands, script

MAX_POOL = 50_000  # records to be covered; a random part of a larger pool, to bound the cost


class Reference(NamedTuple):
    """Data that is the same for every selection, so that their figures can be compared.

    Attributes:
        texts: Of all records.
        spaces: Vectors of all records by the name of the space: float32, unit norm.
        labels: Each record's value of a property, by the name of the property: intp, from 0.
        covered: Vectors of the records to be covered by the name of the space.
        probe: The nearest-neighbour probe.
    """

    texts: Sequence[str]
    spaces: Mapping[str, Vectors]
    labels: Mapping[str, NDArray[np.intp]]
    covered: Mapping[str, Vectors]
    probe: KnnProbe

    @classmethod
    def of(
        cls, corpus: Corpus, dimensions: int, columns: Sequence[str], n_test: int, seed: int
    ) -> Self:
        """Prepare the reference for a corpus.

        Args:
            corpus: The records.
            dimensions: Of the space of words.
            columns: Columns of `extra` whose shares are compared, if any record has them.
            n_test: Number of questions of the probe, if enough records have outputs.
            seed: Of the projection, the questions and the records to be covered.
        """
        spaces = {
            "words": lexical_space(corpus.texts, dimensions, seed),
            "vectors": corpus.vectors,
        }
        # A stream of its own: otherwise the method random would select the same records.
        rows = np.sort(np.random.default_rng((seed, 1)).permutation(len(corpus.ids))[:MAX_POOL])
        is_all = len(rows) == len(corpus.ids)
        return cls(
            texts=corpus.texts,
            spaces=spaces,
            covered=spaces if is_all else {name: v[rows] for name, v in spaces.items()},
            labels=_labels(corpus, columns),
            probe=KnnProbe(corpus.outputs, n_test, seed),
        )


def _labels(corpus: Corpus, columns: Sequence[str]) -> dict[str, NDArray[np.intp]]:
    by_column = {name: corpus.column(name) for name in columns}
    return {
        **{name: codes_of(labels) for name, labels in by_column.items() if any(labels)},
        "length": length_bands(corpus.texts),
        "script": codes_of([script(text) for text in corpus.texts]),
    }
