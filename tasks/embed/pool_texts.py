"""Read the texts to embed as Arrow columns; turn only a few at a time into Python objects."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.lib.core.records import TEXT_COLUMNS, record_text
from tasks.lib.core.schemas import POOL, UNIQUE
from tasks.lib.core.tables import read_table
from tasks.lib.unique import find_rows

TEXTS_AT_ONCE = 4_096


class PoolText(NamedTuple):
    """A record's id and the text to embed."""

    id: str
    text: str


class PoolTexts:
    """The texts of the unique records in a pool, or of all records in a file, in order."""

    def __init__(self, pool_file: Path, unique_file: Path | None = None) -> None:
        """Read the files; if there is no `unique_file`, use all records in the pool file.

        Raises:
            DataError: There are no unique records, or some are missing from the pool.
        """
        self._pool = read_table(pool_file, POOL, ["id", *TEXT_COLUMNS])
        if unique_file is None:
            self._rows = np.arange(len(self._pool))
        else:
            ids = read_table(unique_file, UNIQUE)["id"]
            self._rows = find_rows(ids, self._pool["id"], unique_file)

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, which: Sequence[int] | NDArray[np.int64]) -> Iterator[PoolText]:
        """Yield the texts of the records in `which`, in that order."""
        for start in range(0, len(which), TEXTS_AT_ONCE):
            rows = pa.array(self._rows[which[start : start + TEXTS_AT_ONCE]], pa.int64())
            columns = self._pool.take(rows).columns
            for id_, *fields in zip(*(column.to_pylist() for column in columns), strict=True):
                yield PoolText(id_, record_text(*fields))
