"""Read single texts from the pool without loading all of it into memory."""

import os
import tempfile
import weakref
from itertools import starmap
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.lib.core.errors import REMAKE, DataError
from tasks.lib.core.records import TEXT_COLUMNS
from tasks.lib.core.schemas import POOL
from tasks.lib.core.shown_text import shown_text
from tasks.lib.core.tables import count_rows, read_batches

BATCH_ROWS = 8192  # in memory at a time
ID_BYTES = 8

Rows = NDArray[np.int64]
"""int64, shape (n,): rows of the pool."""


class PoolFile:
    """Ids and texts of records by their row in pool.parquet.

    Texts are copied once into an unnamed temporary file, from which each can be read alone;
    Parquet would decode 65,536 rows for one text. Ids are stored as 8-byte numbers.

    Attributes:
        path: The file.

    Raises:
        DataError: The file is not Parquet, or not a pool.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        n_rows = count_rows(path, POOL)
        self._ids = np.empty(n_rows, dtype=np.uint64)
        self._bounds = np.zeros(n_rows + 1, dtype=np.int64)
        with tempfile.TemporaryFile() as file:
            lengths = self._bounds[1:]
            n_done = 0
            for batch in read_batches(path, POOL, ["id", *TEXT_COLUMNS], BATCH_ROWS):
                columns = [column.to_pylist() for column in batch.select(TEXT_COLUMNS).columns]
                texts = [text.encode() for text in starmap(shown_text, zip(*columns, strict=True))]
                done = slice(n_done, n_done + len(texts))
                self._ids[done], lengths[done] = _numbers(batch["id"], path), list(map(len, texts))
                n_done += len(texts)
                file.writelines(texts)
            file.flush()
            self._texts = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._texts)
        np.cumsum(lengths, out=lengths)

    def __len__(self) -> int:
        return len(self._ids)

    def index(self) -> "RowIndex":
        """Return the rows by id."""
        return RowIndex(self._ids)

    def ids(self, rows: Rows) -> list[str]:
        """Return the id of each record."""
        digits = self._ids[rows].astype(">u8").tobytes().hex()
        width = 2 * ID_BYTES
        return [digits[start : start + width] for start in range(0, len(digits), width)]

    def texts(self, rows: Rows) -> list[str]:
        """Return the full text of each record in the form that a judge sees."""
        starts, ends = self._bounds[rows].tolist(), self._bounds[rows + 1].tolist()
        return [
            os.pread(self._texts, end - start, start).decode()
            for start, end in zip(starts, ends, strict=True)
        ]


class RowIndex:
    """The rows of a pool by id.

    Args:
        ids: uint64, shape (n,): the id of each row, as a number.
    """

    def __init__(self, ids: NDArray[np.uint64]) -> None:
        self._rows = np.argsort(ids, kind="stable")
        self._ids = ids[self._rows]

    def rows(self, ids: "pa.Array[Any]", where: Path) -> Rows:
        """Return the rows with these ids, -1 for an id that the pool lacks.

        Raises:
            DataError: An id in the file `where` is not in our format.
        """
        numbers = _numbers(ids, where)
        if not len(self._ids):
            return np.full(len(numbers), -1)
        places = np.searchsorted(self._ids, numbers)
        places[places == len(self._ids)] = 0
        return np.where(self._ids[places] == numbers, self._rows[places], -1)


def _numbers(ids: "pa.Array[Any]", where: Path) -> NDArray[np.uint64]:
    digits = "".join(id_ or "" for id_ in ids.to_pylist())
    try:
        numbers = bytes.fromhex(digits)
    except ValueError:
        numbers = b""
    if numbers.hex() != digits or len(numbers) != ID_BYTES * len(ids):
        raise DataError(
            f"expected ids of {2 * ID_BYTES} hexadecimal digits, found others",
            where=str(where),
            fix=REMAKE,
        )
    return np.frombuffer(numbers, ">u8").astype(np.uint64)
