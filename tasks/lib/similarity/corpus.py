"""The records that a selection is made from, with their vectors."""

import json
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.lib.core.errors import DataError
from tasks.lib.core.records import record_text
from tasks.lib.core.schemas import POOL, UNIQUE
from tasks.lib.core.tables import read_batches, read_table
from tasks.lib.similarity.cosine import Rows, Vectors

COLUMNS = ["instruction", "input", "output", "extra"]
BATCH_ROWS = 8192  # of the pool in memory at a time, beside what is kept of it
REMAKE = "Run `dvc repro measure`, which makes what comes before."


class Corpus(NamedTuple):
    """The unique records in their order; record i has ``ids[i]``, ``texts[i]`` and ``vectors[i]``.

    Attributes:
        ids: Distinct.
        texts: Instruction, then input.
        outputs: None where a record has none.
        extra: JSON text of an object, the columns that have no other place.
        vectors: float32, shape (n, d), unit norm; may be read-only; d is 0 if none were asked for.
    """

    ids: list[str]
    texts: list[str]
    outputs: list[str | None]
    extra: list[str]
    vectors: Vectors

    @classmethod
    def read(cls, pool_file: Path, unique_file: Path, vectors_file: Path | None = None) -> Self:
        """The unique records out of the pool.

        Raises:
            DataError: A file is not as declared, there is no record, or one lacks its row in
                another file.
        """
        unique = read_table(unique_file, UNIQUE)["id"]
        known = read_table(pool_file, POOL, ["id"])["id"]
        rows = pc.index_in(unique, value_set=known)
        if rows.null_count or not len(unique):
            what = "there is no record" if not len(unique) else "a record is not in the pool"
            raise DataError(what, where=str(unique_file), fix=REMAKE)
        places = np.full(len(known), -1)  # of each row of the pool
        places[rows.to_numpy()] = np.arange(len(unique))
        return cls(
            ids=[str(one) for one in unique.to_pylist()],
            vectors=np.empty((len(unique), 0), np.float32)
            if vectors_file is None
            else _vectors(vectors_file, len(unique)),
            **_columns(pool_file, places, len(unique)),
        )

    def rows(self, ids: "pa.ChunkedArray[Any]", where: Path) -> Rows:
        """The rows of records by their ids, in the order given.

        Raises:
            DataError: One is not among the records; `where` is named.
        """
        rows = pc.index_in(ids, value_set=pa.array(self.ids))
        if rows.null_count:
            stranger = ids.filter(rows.is_null())[0].as_py()
            raise DataError(
                f"record {stranger} is not among the unique records", where=str(where), fix=REMAKE
            )
        return rows.to_numpy().astype(np.intp)

    def column(self, name: str) -> list[str | None]:
        """A column of `extra` as text, None for a record that has none."""
        values: list[Any] = [json.loads(extra).get(name) for extra in self.extra]
        return [None if value is None else str(value) for value in values]


def _columns(pool_file: Path, places: Rows, n: int) -> dict[str, list[Any]]:
    """The columns `texts`, `outputs` and `extra` of n records, whose places are not negative."""
    columns: dict[str, list[Any]] = {name: [None] * n for name in ("texts", "outputs", "extra")}
    done = 0
    for batch in read_batches(pool_file, POOL, COLUMNS, BATCH_ROWS):
        for place, row in zip(places[done : done + len(batch)], batch.to_pylist(), strict=True):
            if place >= 0:
                columns["texts"][place] = record_text(row["instruction"], row["input"])
                columns["outputs"][place], columns["extra"][place] = row["output"], row["extra"]
        done += len(batch)
    return columns


def _vectors(path: Path, n: int) -> Vectors:
    try:
        vectors: Vectors = np.load(path)
    except (ValueError, EOFError) as error:
        raise DataError(f"no array of numbers: {error}", where=str(path), fix=REMAKE) from None
    if vectors.dtype != np.float32 or vectors.ndim != 2 or len(vectors) != n:
        raise DataError(
            f"{vectors.dtype} of shape {vectors.shape}, expected one row of float32 for each of "
            f"{n:,} records",
            where=str(path),
            fix=REMAKE,
        )
    return vectors
