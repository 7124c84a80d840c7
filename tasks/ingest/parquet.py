"""Parquet files of any schema."""

import io
import shutil
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.ingest.columns import check_duplicate_columns
from tasks.ingest.rows import Fault, Row, Rows
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.errors import DataError

BATCH_ROWS = 1024


def read_parquet(stream: io.BufferedReader, where: str) -> Rows:
    """Yield each row, with its cells as Python values.

    Raises:
        DataError: The file is not Parquet, is damaged, or has two columns of one name.
    """
    if isinstance(stream.raw, io.FileIO):
        yield from _read_file(stream, where)
        return
    with tempfile.TemporaryFile() as unpacked:  # Parquet is read from its end
        shutil.copyfileobj(stream, unpacked)
        yield from _read_file(unpacked, where)


def _read_file(seekable: BinaryIO, where: str) -> Rows:
    try:
        file = pq.ParquetFile(seekable)
        check_duplicate_columns(file.schema_arrow.names, where)
        number = 0
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            for row in _rows(batch):
                number += 1
                yield number, row
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"not readable as Parquet: {error}",
            where=where,
            fix="Fetch or write it again, or set ingest.source to another file.",
        ) from None


def _rows(batch: pa.RecordBatch) -> Iterator[Row | Fault]:
    try:
        yield from batch.to_pylist()
    except (ValueError, OverflowError):  # a cell has no Python value: find which
        for row in range(batch.num_rows):
            try:
                yield batch.slice(row, 1).to_pylist()[0]
            except (ValueError, OverflowError) as error:
                yield Fault(IngestDrop.BAD_ENCODING, f"a cell cannot be read: {error}")
