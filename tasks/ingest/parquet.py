"""Parquet files of any schema."""

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.ingest.delimited import refuse_twins
from tasks.ingest.rows import Fault, Row, Rows
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.errors import DataError

BATCH_ROWS = 1024


def read_parquet(stream: BinaryIO, where: str) -> Rows:
    """Each row, with its cells as Python values.

    Raises:
        DataError: The file is not Parquet, is damaged, or names two columns alike.
    """
    try:
        file = pq.ParquetFile(stream)
        refuse_twins(file.schema_arrow.names, where)
        row = 0
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            for value in _rows(batch):
                row += 1
                yield row, value
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"not readable as Parquet: {error}",
            where=where,
            fix="Fetch or write it again, or set ingest.source to another file.",
        ) from None


def _rows(batch: pa.RecordBatch) -> Iterator[Row | Fault]:
    try:
        yield from batch.to_pylist()
    except (ValueError, OverflowError):  # a cell in it has no Python value: find which
        for row in range(batch.num_rows):
            try:
                yield batch.slice(row, 1).to_pylist()[0]
            except (ValueError, OverflowError) as error:
                yield Fault(IngestDrop.BAD_ENCODING, f"a cell cannot be read: {error}")
