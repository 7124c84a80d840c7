"""Read the vectors of the records, and the lengths of their texts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.lib.core.errors import DataError
from tasks.lib.core.records import TEXT_COLUMNS, record_text
from tasks.lib.core.schemas import POOL
from tasks.lib.core.tables import read_batches
from tasks.lib.kmeans.partition import Vectors
from tasks.lib.unique import find_rows, read_vectors

BLOCK = 65_536  # rows checked at a time


def finite_vectors(path: Path, ids: Sequence[str]) -> Vectors:
    """Map the vectors of the records into memory: float32, shape (M, d), finite, read-only.

    Raises:
        DataError: The file does not contain an array of this type and shape, or a vector is not
            finite (the error names the record).
    """
    vectors = read_vectors(path, len(ids))
    for start in range(0, len(vectors), BLOCK):
        is_finite = np.isfinite(vectors[start : start + BLOCK]).all(axis=1)
        if not is_finite.all():
            row = start + int(is_finite.argmin())
            raise DataError(
                f"the vector of record {ids[row]} is not finite",
                where=f"{path}: row {row}",
                fix="Run `dvc repro --force embed`, which recomputes it.",
            )
    return vectors


def text_lengths(
    pool_file: Path, unique_file: Path, ids: "pa.ChunkedArray[Any]"
) -> NDArray[np.int64]:
    """Return the size in bytes of each unique record's `record_text`: int64, shape (M,), M >= 1.

    Only the texts of records with context are turned into Python objects.

    Raises:
        DataError: There are no unique records, or some are missing from the pool.
    """
    n_between = len(record_text("", "x")) - len("x")
    pool_ids: list[pa.Array[Any]] = []
    lengths: list[NDArray[np.int64]] = []
    for batch in read_batches(pool_file, POOL, ["id", *TEXT_COLUMNS], BLOCK):
        texts = pa.Table.from_batches([batch])
        n_first, n_second = (
            pc.binary_length(texts[name]).to_numpy().astype(np.int64)
            for name in ("instruction", "input")
        )
        pool_ids.append(batch["id"])
        n_all = n_first + n_second + n_between * (n_second > 0)
        has_context = pc.is_valid(pc.coalesce(texts["system"], texts["turns"], texts["tools"]))
        rows = np.flatnonzero(has_context.to_numpy())
        columns = texts.select(TEXT_COLUMNS).take(rows).columns
        fields = zip(*(column.to_pylist() for column in columns), strict=True)
        n_all[rows] = [len(record_text(*row).encode()) for row in fields]
        lengths.append(n_all)
    rows = find_rows(ids, pa.chunked_array(pool_ids, pa.string()), unique_file)
    n_bytes: NDArray[np.int64] = np.concatenate(lengths)[rows]
    return n_bytes
