"""The texts to embed: Arrow columns, of which a few thousand texts at a time become objects."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.lib.core.errors import DataError
from tasks.lib.core.records import record_text
from tasks.lib.core.schemas import POOL, UNIQUE
from tasks.lib.core.tables import read_table

AT_ONCE = 4_096  # texts


class Entry(NamedTuple):
    """A record's id and the text that stands for it."""

    id: str
    text: str


class PoolTexts:
    """The unique records in their order."""

    def __init__(self, pool_file: Path, unique_file: Path) -> None:
        """Read both files.

        Raises:
            DataError: There is no unique record, or the pool lacks one.
        """
        ids = read_table(unique_file, UNIQUE)["id"]
        pool = read_table(pool_file, POOL, ["id", "instruction", "input"])
        rows = pc.index_in(ids, value_set=pool["id"])
        if not len(ids) or rows.null_count:
            raise DataError(
                f"{len(ids)} unique records, of which the pool has {len(ids) - rows.null_count}",
                where=str(unique_file),
                fix="Run `dvc repro dedupe` to make it anew.",
            )
        self._pool, self._rows = pool, rows.to_numpy()

    def __len__(self) -> int:
        return len(self._rows)

    def of(self, which: Sequence[int] | NDArray[np.int64]) -> Iterator[Entry]:
        """The entries of these records, in the order asked for."""
        for start in range(0, len(which), AT_ONCE):
            rows = self._rows[which[start : start + AT_ONCE]]
            columns = self._pool.take(pa.array(rows)).columns
            for id_, *fields in zip(*(column.to_pylist() for column in columns), strict=True):
                yield Entry(id_, record_text(*fields))
