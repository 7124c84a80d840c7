"""Read Parquet files of any schema."""

import io
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.ingest.map_columns import check_duplicate_columns
from tasks.ingest.rows import Row, Rows
from tasks.ingest.unpack_limit import ROW_BYTES, ReadBound
from tasks.lib.core.errors import DataError
from tasks.lib.core.events import log

# Rows decoded at once. Fewer are decoded if values may be long, since a short file may repeat one
# long text or list a million times. Smaller batches cost up to 3 microseconds a row.
BATCH_ROWS, FEWER_ROWS = 64, 16
LARGE_BYTES = 4_000_000  # a column with more encoded bytes may contain a value of this length
PLAUSIBLE_RATIO = 50  # unpacked size of texts, divided by their packed size
BATCH_BYTES = 64_000_000
VALUE_BYTES = 16  # size of a short value
BUFFER_BYTES = 1 << 20  # per column read; without a buffer, the whole column would be in memory


def read_parquet(stream: io.BufferedReader, where: str, bound: ReadBound) -> Rows:
    """Yield each row, with its cells as Python values.

    A cell that has no Python value is read as text; if that fails too, it is null.

    Raises:
        DataError: The file is not Parquet, is damaged, exceeds a limit, or has two
            columns with the same name.
    """
    if isinstance(stream.raw, io.FileIO):
        yield from _read_file(stream, where, bound)
        return
    with tempfile.TemporaryFile() as unpacked:  # Parquet is read from the end of the file
        shutil.copyfileobj(stream, unpacked)
        yield from _read_file(unpacked, where, bound)


def _read_file(seekable: BinaryIO, where: str, bound: ReadBound) -> Rows:
    try:
        metadata = pq.read_metadata(seekable)
        bound.limits.check_columns(metadata.num_columns, where)
        bound.add(_min_bytes(metadata), where)
        file = pq.ParquetFile(seekable, buffer_size=BUFFER_BYTES)
        check_duplicate_columns(file.schema_arrow.names, where)
        number = 0
        warned: set[str] = set()
        for batch in file.iter_batches(batch_size=_batch_rows(metadata)):
            bound.add(batch.nbytes, where)
            for part in _bounded_parts(batch, bound.limits.max_row_chars):
                rows = [bound.limits.too_long_row] if part is None else _rows(part, where, warned)
                for row in rows:
                    number += 1
                    yield number, row
    except (pa.ArrowException, OSError) as error:
        if getattr(error, "errno", None) is not None:
            raise
        raise DataError(
            f"not readable as Parquet: {error}",
            where=where,
            fix="Fetch or write it again, or set ingest.source to another file.",
        ) from None


def _min_bytes(metadata: pq.FileMetaData) -> int:
    """Return the minimum unpacked size: a few encoded bytes may hold any number of equal values."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    n_encoded = sum(group.total_byte_size for group in groups)
    n_values = sum(group.column(i).num_values for group in groups for i in range(group.num_columns))
    return max(metadata.num_rows * ROW_BYTES, n_encoded, n_values * VALUE_BYTES)


def _batch_rows(metadata: pq.FileMetaData) -> int:
    """Return the number of rows that can be decoded at once without using much memory."""
    rows = BATCH_ROWS
    for i in range(metadata.num_row_groups):
        group = metadata.row_group(i)
        for j in range(group.num_columns if group.num_rows else 0):
            column = group.column(j)
            n_bytes = column.total_uncompressed_size
            is_plausible = n_bytes < column.total_compressed_size * PLAUSIBLE_RATIO
            # An implausible column may repeat one long value.
            value_bytes = VALUE_BYTES if is_plausible else max(VALUE_BYTES, n_bytes)
            row_bytes = column.num_values / group.num_rows * value_bytes
            rows = min(rows, max(1, int(BATCH_BYTES / max(row_bytes, 1))))
            if n_bytes > LARGE_BYTES:
                rows = min(rows, FEWER_ROWS if is_plausible else 1)
    return rows


def _bounded_parts(batch: pa.RecordBatch, max_bytes: int) -> Iterator[pa.RecordBatch | None]:
    """Yield a whole batch, or row by row if one may be too long; None for a row that is."""
    if batch.nbytes <= max_bytes:
        yield batch
        return
    for number in range(batch.num_rows):
        row = batch.slice(number, 1)
        n_bytes = sum(
            (c.dictionary_decode() if isinstance(c, pa.DictionaryArray) else c).nbytes
            for c in row.columns
        )
        yield row if n_bytes <= max_bytes else None


def _rows(batch: pa.RecordBatch, where: str, warned: set[str]) -> Sequence[Row]:
    try:
        return batch.to_pylist()
    except Exception:  # any of several libraries may fail; read one column at a time instead
        names = batch.schema.names
        columns = [_cells(batch, name, where, warned) for name in names]
        return [dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True)]


def _cells(batch: pa.RecordBatch, name: str, where: str, warned: set[str]) -> list[Any]:
    """Return the cells of one column, or their texts if they have no Python values.

    Bytes that are not UTF-8 become lone surrogates, as in other formats.
    """
    column = batch.column(name)
    try:
        return column.to_pylist()
    except Exception:
        if isinstance(column, pa.DictionaryArray):
            column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view():
        cells = column.cast(pa.large_binary()).to_pylist()
        return [cell if cell is None else cell.decode("utf-8", "surrogateescape") for cell in cells]
    if name not in warned:
        warned.add(name)
        log.warning("%s: the column %s (%s) is read as text", where, name, kind)
    if pa.types.is_timestamp(kind):  # this machine lacks its time zone
        column = column.cast(pa.timestamp(kind.unit))
    try:
        return column.cast(pa.string()).to_pylist()
    except pa.ArrowException:
        return [_cell(cell) for cell in column]


def _cell(cell: Any) -> Any:
    try:
        return cell.as_py()
    except Exception:
        return None
