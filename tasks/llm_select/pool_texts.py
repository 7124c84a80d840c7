"""Read single texts from the pool without loading all of it into memory."""

import os
import tempfile
import weakref
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.lib.core.records import TEXT_COLUMNS, RecordTexts
from tasks.lib.core.schemas import POOL
from tasks.lib.core.shown import shown_text
from tasks.lib.core.tables import read_batches, read_table

BATCH_ROWS = 8192  # in memory at a time

Rows = NDArray[np.int64]
"""int64, shape (n,): rows of the pool."""


class PoolFile:
    """Texts of records by their row in pool.parquet.

    Texts are copied once into an unnamed temporary file, from which each can be read alone;
    Parquet would decode 65,536 rows for one text.

    Attributes:
        path: The file.
        ids: The record ids, 16 characters each.

    Raises:
        DataError: The file is not Parquet, or not a pool.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ids = read_table(path, POOL, ["id"])["id"].combine_chunks()
        self._bounds = np.zeros(len(self.ids) + 1, dtype=np.int64)
        with tempfile.TemporaryFile() as file:
            lengths = self._bounds[1:]
            n_done = 0
            for batch in read_batches(path, POOL, TEXT_COLUMNS, BATCH_ROWS):
                texts = [shown_text(*RecordTexts.of(row)).encode() for row in batch.to_pylist()]
                lengths[n_done : n_done + len(texts)] = [len(text) for text in texts]
                n_done += len(texts)
                file.writelines(texts)
            file.flush()
            self._texts = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._texts)
        np.cumsum(lengths, out=lengths)

    def texts(self, rows: Rows) -> list[str]:
        """Return the full text of each record in the form that a judge sees."""
        starts, ends = self._bounds[rows].tolist(), self._bounds[rows + 1].tolist()
        return [
            os.pread(self._texts, end - start, start).decode()
            for start, end in zip(starts, ends, strict=True)
        ]
