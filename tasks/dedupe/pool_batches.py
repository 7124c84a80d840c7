"""Read all or some of the records to compare, in batches."""

from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc


class PoolBatches(NamedTuple):
    """The records to compare.

    Attributes:
        n_records: Number of records.
        read: Yields the records with the columns in `COLUMNS`, the same on every call.
    """

    n_records: int
    read: Callable[[], Iterator[pa.RecordBatch]]

    def only(self, ids: Collection[str]) -> "PoolBatches":
        """Return the records with these ids, which must all be present."""
        return PoolBatches(len(ids), lambda: self._filter(ids, is_kept=True))

    def without(self, ids: Collection[str]) -> "PoolBatches":
        """Return all records except those with these ids, which must all be present."""
        if not ids:
            return self
        return PoolBatches(self.n_records - len(ids), lambda: self._filter(ids, is_kept=False))

    def _filter(self, ids: Collection[str], *, is_kept: bool) -> Iterator[pa.RecordBatch]:
        named = pa.array(list(ids), pa.string())
        for batch in self.read():
            is_named = pc.is_in(batch["id"], value_set=named)
            part = batch.filter(is_named if is_kept else pc.invert(is_named))
            if len(part):
                yield part
