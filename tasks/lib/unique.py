"""Find the unique records in the pool, and read and write the file of their vectors."""

import tokenize
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.lib.core.errors import DataError

_UNREADABLE = (ValueError, TypeError, OverflowError, EOFError, SyntaxError, tokenize.TokenError)
"""What NumPy raises for a damaged header, which it reads as a Python expression."""


def find_rows(
    ids: "pa.ChunkedArray[Any]",
    pool_ids: "pa.ChunkedArray[Any] | pa.Array[Any]",
    unique_file: Path,
) -> NDArray[np.int64]:
    """Return each unique record's row in the pool: int64, shape (n,), n at least 1.

    Raises:
        DataError: There are no unique records, or some are missing from the pool.
    """
    rows = pc.index_in(ids, value_set=pool_ids)
    if not len(ids) or rows.null_count:
        raise DataError(
            f"{rows.null_count:,} of the {len(ids):,} unique records are missing from the pool"
            if len(ids)
            else "there are no unique records",
            where=str(unique_file),
            fix="Run `dvc repro dedupe`. If it leaves no records, see the dropped.parquet files of "
            "ingest and dedupe for the reasons.",
        )
    return rows.to_numpy().astype(np.int64)


def read_vectors(path: Path, n_records: int | None = None) -> NDArray[np.float32]:
    """Map vectors.npy into memory, read-only: float32, shape (n, d), row i is unique record i.

    Raises:
        DataError: The file is not an array of this type, or does not have `n_records` rows.
    """
    fix = "Run `dvc repro --force embed`, which recomputes it."
    try:
        vectors = np.lib.format.open_memmap(path, mode="r")
    except _UNREADABLE as error:
        raise DataError(f"not readable as an array: {error}", where=str(path), fix=fix) from None
    expected_rows = len(vectors) if n_records is None and vectors.ndim else n_records
    if vectors.dtype != np.float32 or vectors.ndim != 2 or len(vectors) != expected_rows:
        n = "n" if n_records is None else f"{n_records:,}"
        raise DataError(
            f"expected float32 vectors for {n} records, found {vectors.dtype} of shape "
            f"{vectors.shape}",
            where=str(path),
            fix=fix,
        )
    return np.asarray(vectors)  # the same memory, but faster to index than a memmap


def write_vectors(
    path: Path, n_rows: int, dim: int, batches: Iterable[NDArray[np.float32]]
) -> None:
    """Write vectors.npy from batches of shape (any, `dim`) with `n_rows` rows in total.

    The file is not mapped into memory: on a full disk, writing to a mapped file kills the process.
    """
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (n_rows, dim)}
        np.lib.format.write_array_header_1_0(file, header)
        for batch in batches:
            file.write(batch.astype("<f4", copy=False).tobytes())
