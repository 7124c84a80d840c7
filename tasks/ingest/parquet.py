"""Parquet files of any schema."""

import io
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.ingest.columns import check_duplicate_columns
from tasks.ingest.rows import Row, Rows
from tasks.ingest.unpack import UnpackBound, UnpackLimits
from tasks.lib.core.errors import DataError
from tasks.lib.core.events import log

BATCH_ROWS = 512
# A column of fewer bytes a row is read as a dictionary: a short file may repeat one long text a
# million times.
FEW_BYTES = 64
MAX_SLICE_BYTES = 64_000_000  # of texts that are in memory at once
ROW_BYTES = 64  # least memory of a row, for the limit of what a file unpacks to


def read_parquet(stream: io.BufferedReader, where: str, limits: UnpackLimits) -> Rows:
    """Yield each row, with its cells as Python values.

    A cell that has no Python value is read as text; if that fails too, it is null.

    Raises:
        DataError: The file is not Parquet, is damaged, unpacks to too much, or has two columns of
            one name.
    """
    if isinstance(stream.raw, io.FileIO):
        yield from _read_file(stream, where, limits)
        return
    with tempfile.TemporaryFile() as unpacked:  # Parquet is read from its end
        shutil.copyfileobj(stream, unpacked)
        yield from _read_file(unpacked, where, limits)


def _read_file(seekable: BinaryIO, where: str, limits: UnpackLimits) -> Rows:
    try:
        metadata = pq.read_metadata(seekable)
        bound = UnpackBound(seekable.seek(0, io.SEEK_END), limits, where)
        bound.add(max(metadata.num_rows * ROW_BYTES, _encoded_bytes(metadata)))
        file = pq.ParquetFile(seekable, read_dictionary=_short_columns(metadata))
        check_duplicate_columns(file.schema_arrow.names, where)
        number = 0
        warned: set[str] = set()
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            bound.add(batch.nbytes)
            for row in _rows(batch, bound, where, warned):
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


def _encoded_bytes(metadata: pq.FileMetaData) -> int:
    return sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))


def _short_columns(metadata: pq.FileMetaData) -> list[str]:
    """Return the columns of texts that have few bytes a row in some group of rows."""
    names = set()
    for i in range(metadata.num_row_groups):
        group = metadata.row_group(i)
        for j in range(group.num_columns):
            column = group.column(j)
            is_text = column.physical_type == "BYTE_ARRAY" and "." not in column.path_in_schema
            if is_text and column.total_uncompressed_size < FEW_BYTES * group.num_rows:
                names.add(column.path_in_schema)
    return sorted(names)


def _rows(batch: pa.RecordBatch, bound: UnpackBound, where: str, warned: set[str]) -> Iterator[Row]:
    """Yield the rows of a batch; of long repeated texts, only some at a time."""
    n_bytes = sum(map(_repeated_bytes, batch.columns))
    bound.add(n_bytes)
    n_slices = n_bytes // MAX_SLICE_BYTES + 1
    n_rows = -(-batch.num_rows // n_slices)
    for start in range(0, batch.num_rows, n_rows):
        part = batch.slice(start, n_rows)
        try:
            rows: Sequence[Row] = part.to_pylist()
        except Exception:  # of several libraries; the cells are tried one column at a time
            columns = [_cells(part, name, where, warned) for name in part.schema.names]
            names = part.schema.names
            rows = [dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True)]
        yield from rows


def _repeated_bytes(column: Any) -> int:
    """Return the length of all texts of a column that is read as a dictionary, otherwise 0."""
    if not isinstance(column, pa.DictionaryArray) or not len(column.dictionary):
        return 0
    texts: Any = column.dictionary
    lengths = pc.binary_length(texts).take(column.indices)
    return pc.sum(pc.cast(lengths, pa.int64())).as_py() or 0


def _cells(batch: pa.RecordBatch, name: str, where: str, warned: set[str]) -> list[Any]:
    """Return the cells of one column, as texts if they have no Python values.

    Bytes that are not UTF-8 become half surrogate pairs, as in other formats.
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
    if pa.types.is_timestamp(kind):  # in a time zone that is not known here
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
