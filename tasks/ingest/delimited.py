"""Tables of text cells under a header line: CSV and TSV."""

import csv
import io
from collections.abc import Iterator
from typing import TextIO

from tasks.ingest.columns import check_duplicate_columns
from tasks.ingest.encoding import as_text, is_utf8, skip_bom
from tasks.ingest.rows import Fault, Row, Rows
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.errors import DataError

# Longer than any real cell, and short enough that an unclosed quote cannot fill the memory.
MAX_CELL_CHARS = 1 << 26

csv.field_size_limit(MAX_CELL_CHARS)  # a setting of the whole process; the default is 131,072


def read_csv(stream: io.BufferedReader, where: str) -> Rows:
    """Yield each row of a table separated by commas, or by semicolons or tabs if its header is.

    A row maps column names to texts. A column without a name is named by its position, such as
    ``column_1``. Blank lines are skipped.

    Raises:
        DataError: The text is in another encoding than UTF-8, the header repeats a name or cannot
            be read, or a quote is never closed.
    """
    return _read(stream, where, ",;\t")


def read_tsv(stream: io.BufferedReader, where: str) -> Rows:
    """Yield each row of a table separated by tabs; otherwise like `read_csv`."""
    return _read(stream, where, "\t")


def _read(stream: io.BufferedReader, where: str, delimiters: str) -> Rows:
    skip_bom(stream, where)
    first_line = stream.peek().lstrip(b"\r\n").partition(b"\n")[0].decode("utf-8", "replace")
    delimiter = max(delimiters, key=first_line.count)
    header: list[str] = []
    with as_text(stream) as text:
        for line, cells in _records(text, delimiter, where):
            if not header:
                header = _header(cells, f"{where}:{line}")
            else:
                yield line, _row(header, cells)


def _row(header: list[str], cells: list[str] | Fault) -> Row | Fault:
    if isinstance(cells, Fault):
        return cells
    if len(cells) != len(header):
        return Fault(IngestDrop.WRONG_CELLS, f"{len(cells)} cells under a header of {len(header)}")
    return dict(zip(header, cells, strict=True))


def _records(text: TextIO, delimiter: str, where: str) -> Iterator[tuple[int, list[str] | Fault]]:
    """Yield each record with the number of its first line; skip blank lines."""
    # Strict: otherwise text after a closing quote is glued to the cell, and a quote that is never
    # closed makes one cell of the rest of the file.
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, _fault(error, f"{where}:{line}")
            continue
        if cells and is_utf8("".join(cells)):
            yield line, cells
        elif cells:
            yield line, Fault(IngestDrop.BAD_ENCODING, "not UTF-8")


def _fault(error: csv.Error, where: str) -> Fault:
    """Return the fault of one row, or raise a DataError if the rows after it are lost too."""
    if "expected after" in str(error):
        return Fault(
            IngestDrop.WRONG_CELLS, f"a quote inside a quoted cell is not doubled: {error}"
        )
    raise DataError(
        f"a quoted cell that starts in this row is never closed ({error})",
        where=where,
        fix='Close it, and write a quote inside a quoted cell as "".',
    )


def _header(cells: list[str] | Fault, where: str) -> list[str]:
    if isinstance(cells, Fault):
        raise DataError(
            f"the header cannot be read: {cells.detail}", where=where, fix="Fix this line."
        )
    names = [cell.strip() or f"column_{number}" for number, cell in enumerate(cells, start=1)]
    check_duplicate_columns(names, where)
    return names
