"""Tables of text cells under a header line: CSV and TSV."""

import csv
from collections.abc import Iterator, Sequence
from typing import BinaryIO, TextIO

from tasks.ingest.encoding import as_text, is_utf8, peek_line, skip_mark
from tasks.ingest.rows import Fault, Row, Rows
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.errors import DataError

# Past any real cell, and small enough that an unclosed quote cannot swallow the memory.
MAX_CELL_CHARS = 1 << 26

csv.field_size_limit(MAX_CELL_CHARS)  # a setting of the whole process; the default is 131,072


def read_csv(stream: BinaryIO, where: str) -> Rows:
    """Each row of a table separated by commas, or by semicolons or tabs if its header is.

    A row's cells are texts by column name, and a column without one is named by its place, such
    as ``column_1``. Blank lines are passed over.

    Raises:
        DataError: The text is not UTF-8 throughout, the header names a column twice or cannot be
            read, or a quote is never closed.
    """
    return _read(stream, where, ",;\t")


def read_tsv(stream: BinaryIO, where: str) -> Rows:
    """Each row of a table separated by tabs; else as `read_csv`."""
    return _read(stream, where, "\t")


def _read(stream: BinaryIO, where: str, delimiters: str) -> Rows:
    skip_mark(stream, where)
    first = peek_line(stream).decode("utf-8", "surrogateescape")
    header: list[str] = []
    with as_text(stream) as lines:
        for line, row in _records(lines, max(delimiters, key=first.count), where):
            if not header:
                header = _header(row, f"{where}:{line}")
            else:
                yield line, _row(header, row)


def _row(header: list[str], row: list[str] | Fault) -> Row | Fault:
    if isinstance(row, Fault):
        return row
    if len(row) != len(header):
        return Fault(IngestDrop.WRONG_CELLS, f"{len(row)} cells under a header of {len(header)}")
    return dict(zip(header, row, strict=True))


def _records(lines: TextIO, delimiter: str, where: str) -> Iterator[tuple[int, list[str] | Fault]]:
    """Each record that is not a blank line, after the line it starts at."""
    # Strict: without it, text after a closing quote is glued to the cell, and a quote that is
    # never closed makes one cell of the rest of the file.
    cells = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        line = cells.line_num + 1
        try:
            row = next(cells)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, _fault(error, f"{where}:{line}")
            continue
        if row:
            yield (
                line,
                row if is_utf8("".join(row)) else Fault(IngestDrop.BAD_ENCODING, "not UTF-8"),
            )


def _fault(error: csv.Error, where: str) -> Fault:
    """The fault of one row, or a DataError where the rows after it are lost too."""
    if "expected after" in str(error):
        return Fault(
            IngestDrop.WRONG_CELLS, f"a quote inside a quoted cell is not doubled: {error}"
        )
    raise DataError(
        f"a quoted cell that starts in this row is never closed ({error})",
        where=where,
        fix='Close it, and write a quote inside a quoted cell as "".',
    )


def _header(row: list[str] | Fault, where: str) -> list[str]:
    if isinstance(row, Fault):
        raise DataError(
            f"the header cannot be read: {row.detail}", where=where, fix="Mend this line."
        )
    names = [cell.strip() or f"column_{place}" for place, cell in enumerate(row, start=1)]
    refuse_twins(names, where)
    return names


def refuse_twins(names: Sequence[str], where: str) -> None:
    """Stop if a column's name is not its own.

    Raises:
        DataError: The first name that comes twice.
    """
    twin = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twin is not None:
        raise DataError(
            f"two columns are named {twin!r}", where=where, fix="Rename or remove one of them."
        )
