"""The unique records: their ids, texts, outputs and vectors."""

import json
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.lib.core.errors import DataError
from tasks.lib.core.records import TEXT_COLUMNS, RecordTexts, record_text
from tasks.lib.core.schemas import POOL, UNIQUE
from tasks.lib.core.tables import read_batches, read_table
from tasks.lib.similarity.cosine import Rows, Vectors
from tasks.lib.unique import find_rows, read_vectors

COLUMNS = [*TEXT_COLUMNS, "output", "extra"]
BATCH_ROWS = 8192  # pool rows in memory at a time, in addition to the columns that are kept
REMAKE = "Run `dvc repro measure`, which also runs the stages before it."


class Corpus(NamedTuple):
    """The unique records, in order; record i has ``ids[i]``, ``texts[i]`` and ``vectors[i]``.

    Attributes:
        ids: Distinct ids.
        texts: The texts that records are compared by.
        outputs: Outputs; None for a record that has no output.
        extra: JSON objects with all other columns, as text.
        vectors: float32, shape (n, d), unit norm, read-only; d is 0 if no vectors were requested.
    """

    ids: list[str]
    texts: list[str]
    outputs: list[str | None]
    extra: list[str]
    vectors: Vectors

    @classmethod
    def read(cls, pool_file: Path, unique_file: Path, vectors_file: Path | None = None) -> Self:
        """Read the unique records from the pool.

        Raises:
            DataError: A file does not match its schema, there are no records, or a record is
                missing from one of the files.
        """
        ids = read_table(unique_file, UNIQUE)["id"]
        pool_ids = read_table(pool_file, POOL, ["id"])["id"]
        places = np.full(len(pool_ids), -1)  # the record in each row of the pool
        places[find_rows(ids, pool_ids, unique_file)] = np.arange(len(ids))
        return cls(
            ids=[str(id_) for id_ in ids.to_pylist()],
            vectors=np.empty((len(ids), 0), np.float32)
            if vectors_file is None
            else read_vectors(vectors_file, len(ids)),
            **_columns(pool_file, places, len(ids)),
        )

    def rows(self, ids: "pa.ChunkedArray[Any]", where: Path) -> Rows:
        """Return the rows of the records with these ids, in the order given.

        Raises:
            DataError: An id is unknown; the error names the file `where`.
        """
        rows = pc.index_in(ids, value_set=pa.array(self.ids))
        if rows.null_count:
            unknown = ids.filter(rows.is_null())[0].as_py()
            raise DataError(
                f"record {unknown} is not among the unique records", where=str(where), fix=REMAKE
            )
        return rows.to_numpy().astype(np.intp)

    def column(self, name: str) -> list[str | None]:
        """Return a column of `extra` as text; None for a record that lacks it."""
        values: list[Any] = [json.loads(extra).get(name) for extra in self.extra]
        return [None if value is None else str(value) for value in values]


def _columns(pool_file: Path, places: Rows, n: int) -> dict[str, list[Any]]:
    """Read the texts, outputs and extra of n records; skip pool rows with the place -1."""
    columns: dict[str, list[Any]] = {name: [None] * n for name in ("texts", "outputs", "extra")}
    n_read = 0
    for batch in read_batches(pool_file, POOL, COLUMNS, BATCH_ROWS):
        batch_places = places[n_read : n_read + len(batch)]
        for place, row in zip(batch_places, batch.to_pylist(), strict=True):
            if place >= 0:
                columns["texts"][place] = record_text(*RecordTexts.of(row))
                columns["outputs"][place], columns["extra"][place] = row["output"], row["extra"]
        n_read += len(batch)
    return columns
