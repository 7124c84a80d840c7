"""What the other methods would select, as the stage baseline wrote it."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tasks.lib.core.schemas import SELECTIONS
from tasks.lib.core.tables import read_table
from tasks.lib.similarity.corpus import Corpus
from tasks.lib.similarity.cosine import Rows


class Selection(NamedTuple):
    """What a method chose with a seed: rows of the corpus, the most wanted first."""

    method: str
    seed: int
    rows: Rows


def read_selections(path: Path, corpus: Corpus) -> Iterator[Selection]:
    """The selections of a file, in the order in which they stand there.

    Raises:
        DataError: It is no file of SELECTIONS, or names a record that the corpus has not.
    """
    table = read_table(path, SELECTIONS)
    rows = corpus.rows(table["id"], path)
    starts = np.flatnonzero(table["rank"].to_numpy() == 1)
    methods, seeds = table["method"].to_pylist(), table["seed"].to_pylist()
    for part in np.split(np.arange(len(rows)), starts)[1:]:  # before the first there is none
        yield Selection(methods[part[0]], seeds[part[0]], rows[part])
