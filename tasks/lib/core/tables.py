"""Read and write Parquet files with a fixed schema; the same rows give byte-identical files."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.lib.core.errors import REMAKE, DataError

# Rows and characters that a writer keeps in memory; fixed, since row groups affect the bytes.
ROW_GROUP, GROUP_CHARS = 65_536, 1 << 26


def write_table(
    path: Path, rows: pa.Table | Iterable[Mapping[str, Any]], schema: pa.Schema
) -> None:
    """Write rows to Parquet, together with the metadata of `schema`."""
    if not isinstance(rows, pa.Table):
        rows = pa.Table.from_pylist(list(rows), schema=schema)
    table = rows.select(schema.names).cast(schema).replace_schema_metadata(schema.metadata)
    pq.write_table(table, path, compression="zstd", row_group_size=ROW_GROUP)


def read_table(path: Path, schema: pa.Schema, columns: list[str] | None = None) -> pa.Table:
    """Read the table at `path`, or only the named columns.

    Raises:
        DataError: The file is not Parquet, or its columns differ from `schema`.
    """
    with _checked(path, schema) as file:
        table = file.read(columns=columns)
        return table if columns is None else table.select(columns)


def read_batches(
    path: Path, schema: pa.Schema, columns: list[str], n_rows: int
) -> Iterator[pa.RecordBatch]:
    """Yield the named columns of the table at `path`, at most `n_rows` rows at a time, in order.

    Raises:
        DataError: As for `read_table`.
    """
    with _checked(path, schema) as file:
        # Several threads would each take up memory, and hardly save time.
        yield from file.iter_batches(batch_size=n_rows, columns=columns, use_threads=False)


def count_rows(path: Path, schema: pa.Schema) -> int:
    """Count the rows of the table at `path`.

    Raises:
        DataError: As for `read_table`.
    """
    with _checked(path, schema) as file:
        return int(file.metadata.num_rows)


@contextmanager
def _checked(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetFile]:
    """Open the file and check that it has the columns of `schema`."""
    try:
        # pq.read_table would import pandas, which is slow; a buffer would grow with the file.
        with pq.ParquetFile(path, pre_buffer=False) as file:
            if not file.schema_arrow.equals(schema):
                raise DataError(
                    f"expected columns {_columns(schema)}; found {_columns(file.schema_arrow)}",
                    where=str(path),
                    fix=REMAKE,
                )
            yield file
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:  # pyarrow raises OSError for damaged data
        raise DataError(f"not readable as Parquet: {error}", where=str(path), fix=REMAKE) from None


class TableWriter:
    """Writes rows as they arrive, in row groups of limited size, which limits memory use."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._schema = schema
        self._rows: list[Mapping[str, Any]] = []
        self._n_chars = 0
        self.n_rows = 0

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one row; its keys are the schema's column names."""
        self._rows.append(row)
        self.n_rows += 1
        self._n_chars += sum(len(cell) for cell in row.values() if type(cell) is str)
        if len(self._rows) >= ROW_GROUP or self._n_chars >= GROUP_CHARS:
            self._flush()

    def add_metadata(self, metadata: Mapping[str, str]) -> None:
        """Add key-value pairs to the file's footer."""
        self._writer.add_key_value_metadata(dict(metadata))

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows.clear()
        self._n_chars = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and (self._rows or self.n_rows == 0):
            self._flush()
        self._writer.close()


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
