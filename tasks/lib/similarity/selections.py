"""Read and write the file of the baseline methods' selections."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tasks.lib.core.schemas import SELECTIONS
from tasks.lib.core.tables import read_table, write_table
from tasks.lib.similarity.corpus import Corpus
from tasks.lib.similarity.cosine import Rows


class MethodSelection(NamedTuple):
    """The rows of the corpus that a method selects with one seed, the most preferred first."""

    method: str
    seed: int
    rows: Rows


def write_selections(path: Path, selections: Sequence[MethodSelection], ids: Sequence[str]) -> None:
    """Write selections to a file; ``ids[i]`` is the id of row i."""
    table = pa.table(
        {
            "method": [selection.method for selection in selections for _ in selection.rows],
            "seed": [selection.seed for selection in selections for _ in selection.rows],
            "rank": [rank + 1 for selection in selections for rank in range(len(selection.rows))],
            "id": [ids[row] for selection in selections for row in selection.rows],
        },
        SELECTIONS,
    )
    write_table(path, table, SELECTIONS)


def read_selections(path: Path, corpus: Corpus) -> Iterator[MethodSelection]:
    """Yield the selections of a file, in file order.

    Raises:
        DataError: The file does not match its schema, or a record in it is not in the corpus.
    """
    table = read_table(path, SELECTIONS)
    rows = corpus.rows(table["id"], path)
    starts = np.flatnonzero(table["rank"].to_numpy() == 1)
    methods, seeds = table["method"].to_pylist(), table["seed"].to_pylist()
    for part in np.split(np.arange(len(rows)), starts)[1:]:  # no row comes before the first start
        yield MethodSelection(methods[part[0]], seeds[part[0]], rows[part])
