"""Prepare the data that every selection from a pool is measured against."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tasks.lib.similarity.corpus import Corpus
from tasks.lib.similarity.cosine import Rows, Vectors
from tasks.lib.similarity.lsa import character_space, lexical_space
from tasks.lib.similarity.novelty import Factors, densities
from tasks.measure.knn_probe import KnnProbe, with_output
from tasks.measure.space import Space
from tasks.measure.text_metrics import codes_of, length_bands, script

MAX_DENSITY_POOL = 20_000  # records to search for neighbours
MAX_DENSITY_CELLS = 2_000_000_000  # cosines; a limit only for pools of more than 100,000 records
MAX_POOL = 50_000  # records to be covered; a larger pool is sampled at random, to limit the cost


class Reference(NamedTuple):
    """Data that is the same for every selection, so that their figures can be compared.

    Attributes:
        texts: The texts of all records.
        spaces: The spaces by name, in the order of SPACES.
        labels: For each property, every record's value, numbered from 0: intp, shape (n,).
        densities: The density of vectors around each record, for NovelSum.
        probe: The nearest-neighbour probe.
    """

    texts: Sequence[str]
    spaces: Mapping[str, Space]
    labels: Mapping[str, NDArray[np.intp]]
    densities: Factors
    probe: KnnProbe

    @classmethod
    def of(
        cls, corpus: Corpus, dimensions: int, columns: Sequence[str], n_test: int, seed: int
    ) -> Self:
        """Prepare the reference for a corpus.

        Args:
            corpus: The records.
            dimensions: The number of dimensions of the spaces of words and characters.
            columns: The columns of `extra` with labels to compare, if any record has them.
            n_test: The number of questions for the probe, if enough records have outputs.
            seed: The seed of the projection, the questions and the records to be covered.
        """
        # A separate stream: otherwise the random method would select the same records.
        drawn = np.sort(np.random.default_rng((seed, 1)).permutation(len(corpus.ids))[:MAX_POOL])
        return cls(
            texts=corpus.texts,
            spaces=_spaces(corpus, dimensions, seed, drawn),
            labels=_labels(corpus, columns),
            densities=_densities(corpus.vectors, drawn),
            probe=KnnProbe(corpus.outputs, n_test, seed),
        )


def _spaces(corpus: Corpus, dimensions: int, seed: int, drawn: Rows) -> dict[str, Space]:
    n = len(corpus.ids)
    has_text = np.ones(n, np.bool_)
    spaces = {}
    answered = with_output(corpus.outputs)
    if len(answered):
        outputs = [corpus.outputs[row] or "" for row in answered]
        space = lexical_space(outputs, dimensions, seed)
        vectors = np.zeros((n, space.shape[1]), np.float32)
        vectors[answered] = space
        spaces["outputs"] = Space.of(vectors, np.isin(np.arange(n), answered), drawn)
    words = lexical_space(corpus.texts, dimensions, seed)
    spaces["words"] = Space.of(words, has_text, drawn)
    characters = character_space(corpus.texts, dimensions, seed)
    spaces["characters"] = Space.of(characters, has_text, drawn)
    spaces["vectors"] = Space.of(corpus.vectors, has_text, drawn)
    return spaces


def _densities(vectors: Vectors, drawn: Rows) -> Factors:
    """Return the density around each vector, estimated from a sample to limit the cost."""
    n_pool = min(len(drawn), MAX_DENSITY_POOL, max(1000, MAX_DENSITY_CELLS // len(vectors)))
    pool = drawn[np.linspace(0, len(drawn) - 1, n_pool).astype(np.intp)]
    own = np.full(len(vectors), -1, np.intp)
    own[pool] = np.arange(n_pool)
    return densities(vectors, vectors[pool], own)


def _labels(corpus: Corpus, columns: Sequence[str]) -> dict[str, NDArray[np.intp]]:
    by_column = {name: corpus.column(name) for name in columns}
    return {
        **{name: codes_of(labels) for name, labels in by_column.items() if any(labels)},
        "length": length_bands(corpus.texts),
        "script": codes_of([script(text) for text in corpus.texts]),
    }
