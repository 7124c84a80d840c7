"""What records are grouped by: their vectors, and how long their texts are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.lib.core.errors import DataError
from tasks.lib.core.records import record_text
from tasks.lib.core.schemas import POOL
from tasks.lib.core.tables import read_batches
from tasks.lib.kmeans.partition import Vectors

BLOCK = 65_536  # rows checked at a time


def read_vectors(path: Path, ids: Sequence[str]) -> Vectors:
    """The vectors of these ids, mapped and not loaded, float32 (M, d), M at least 1.

    Raises:
        DataError: The file is no array, not float32 (M, d), has another number of rows than there
            are ids, no rows at all, or holds a value that is not finite.
    """
    remake = "Run `dvc repro embed --force`, which makes it anew."
    try:
        vectors = np.load(path, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise DataError(f"not readable: {error}", where=str(path), fix=remake) from None
    if vectors.ndim != 2 or vectors.dtype != np.float32 or len(vectors) != len(ids):
        raise DataError(
            f"expected float32 vectors of {len(ids)} records, not {vectors.dtype} {vectors.shape}",
            where=str(path),
            fix=remake,
        )
    if len(vectors) == 0:
        raise DataError(
            "there is no record to cluster",
            where=str(path),
            fix="See what ingest and dedupe dropped, and why, in their dropped.parquet.",
        )
    for start in range(0, len(vectors), BLOCK):
        is_finite = np.isfinite(vectors[start : start + BLOCK]).all(axis=1)
        if not is_finite.all():
            row = start + int(is_finite.argmin())
            raise DataError(
                f"the vector of record {ids[row]} is not finite",
                where=f"{path}: row {row}",
                fix=remake,
            )
    return np.asarray(vectors)  # the same memory, without memmap's slower indexing


def text_lengths(pool_file: Path, ids: "pa.ChunkedArray[Any]") -> NDArray[np.int64]:
    """Bytes of each record's `record_text`, no text being read as an object: int64, shape (M,).

    Raises:
        DataError: A record is not in the pool.
    """
    n_between = len(record_text("", "x")) - len("x")
    pool_ids: list[pa.Array[Any]] = []
    lengths: list[NDArray[np.int64]] = []
    for batch in read_batches(pool_file, POOL, ["id", "instruction", "input"], BLOCK):
        texts = pa.Table.from_batches([batch])
        n_first, n_then = (
            pc.binary_length(texts[name]).to_numpy().astype(np.int64)
            for name in ("instruction", "input")
        )
        pool_ids.append(batch["id"])
        lengths.append(n_first + n_then + n_between * (n_then > 0))
    rows = pc.index_in(ids, value_set=pa.chunked_array(pool_ids, pa.string()))
    if rows.null_count:
        raise DataError(
            "lacks records of unique.parquet",
            where=str(pool_file),
            fix="Run `dvc repro dedupe` to make it anew.",
        )
    n_bytes: NDArray[np.int64] = np.concatenate(lengths)[rows.to_numpy()]
    return n_bytes
