"""Read text tables with a header line: CSV, TSV and similar formats."""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import TextIO

from tasks.ingest.dialect import Dialect, Quotes, find_dialect, n_row_like
from tasks.ingest.encoding import HEAD_BYTES, as_text, is_utf8, skip_bom
from tasks.ingest.map_columns import check_duplicate_columns
from tasks.ingest.rows import Fault, Row, Rows
from tasks.ingest.text_lines import RowLines
from tasks.ingest.unpack_limit import ReadLimits
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.errors import DataError
from tasks.lib.core.events import log

MAX_WARNINGS = 3
LITERAL = "If quotes are part of the text, set -S 'ingest.table={quotes: none}'."


def read_csv(
    stream: io.BufferedReader, where: str, table: Mapping[str, str], limits: ReadLimits
) -> Rows:
    """Yield each row of a table, read in the dialect that fits the start of the file best.

    A row maps column names to texts. A column without a name is named after its position, such as
    ``column_1``. Blank lines are skipped.

    Raises:
        DataError: The text is not UTF-8, the header is unreadable or repeats a name, a quote is
            never closed, or a limit is exceeded.
    """
    return _read(stream, where, table, limits, is_tsv=False)


def read_tsv(
    stream: io.BufferedReader, where: str, table: Mapping[str, str], limits: ReadLimits
) -> Rows:
    """Yield each row of a tab-separated table, in the same way as `read_csv`."""
    return _read(stream, where, table, limits, is_tsv=True)


def _read(
    stream: io.BufferedReader,
    where: str,
    table: Mapping[str, str],
    limits: ReadLimits,
    *,
    is_tsv: bool,
) -> Rows:
    csv.field_size_limit(limits.max_row_chars)  # the default of 131,072 is too low
    skip_bom(stream, where)
    raw = stream.peek()
    head, is_whole = raw.decode("utf-8", "replace"), len(raw) < HEAD_BYTES - 3
    dialect = find_dialect(head, is_whole, is_tsv, table)
    if dialect.quotes is not Quotes.DOUBLED or dialect.delimiter not in (",", "\t"):
        log.info("%s: read as a table %s", where, dialect)
    header: list[str] = []
    joined = _JoinedRows(where, dialect.delimiter)
    with as_text(stream) as text:
        for line, cells in _records(text, dialect, where, limits):
            if not header:
                header = _header(cells, f"{where}:{line}", limits)
                continue
            row = _row(header, cells)
            if not isinstance(cells, Fault) and len(cells) > 1:
                joined.check(line, cells)
            yield line, row
    joined.log_rest()


def _row(header: list[str], cells: list[str] | Fault) -> Row | Fault:
    if isinstance(cells, Fault):
        return cells
    if len(cells) != len(header):
        return Fault(IngestDrop.WRONG_CELLS, f"{len(cells)} cells, but {len(header)} columns")
    return dict(zip(header, cells, strict=True))


class _JoinedRows:
    """Warns about rows that seem to be several rows, joined by a quote in the text."""

    def __init__(self, where: str, delimiter: str) -> None:
        self._where, self._delimiter, self._n = where, delimiter, 0

    def check(self, line: int, cells: list[str]) -> None:
        """Warn if at least half of a row's lines look like separate rows."""
        if not any("\n" in cell and self._delimiter in cell for cell in cells):
            return
        lines = self._delimiter.join(cells).strip("\n").split("\n")
        n_alike, n_lines = n_row_like(lines, self._delimiter, len(cells)), len(lines)
        if n_alike < 2 or 2 * n_alike < n_lines:
            return
        self._n += 1
        if self._n <= MAX_WARNINGS:
            log.warning(
                "%s:%d: this row has %d lines, and most look like separate rows. "
                "Check for an unclosed quote. %s",
                *(self._where, line, n_lines, LITERAL),
            )

    def log_rest(self) -> None:
        """Log the number of similar rows beyond the maximum number of warnings."""
        if self._n > MAX_WARNINGS:
            log.warning("%s: %d more rows like these", self._where, self._n - MAX_WARNINGS)


def _records(
    text: TextIO, dialect: Dialect, where: str, limits: ReadLimits
) -> Iterator[tuple[int, list[str] | Fault]]:
    """Yield each record with the number of its first line; skip blank lines."""
    row_lines = RowLines(text, where, limits)
    lines = iter(row_lines)
    for _ in range(dialect.n_skipped):
        next(lines)
    reader = dialect.reader(lines)
    while True:
        row_lines.start_row()
        line = reader.line_num + dialect.n_skipped + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, _fault(error, f"{where}:{line}")
            continue
        if cells:
            yield line, cells


def _fault(error: csv.Error, where: str) -> Fault:
    """Return what is wrong with one row, or raise a DataError if the next rows are lost too."""
    if "expected after" in str(error):
        return Fault(
            IngestDrop.WRONG_CELLS, f"a quote inside a quoted cell is not doubled: {error}"
        )
    raise DataError(
        f"a quoted cell that starts in this row is never closed ({error})",
        where=where,
        fix=f'Close it, and write a quote inside a quoted cell as "". {LITERAL}',
    )


def _header(cells: list[str] | Fault, where: str, limits: ReadLimits) -> list[str]:
    if isinstance(cells, Fault):
        raise DataError(
            f"the header line cannot be read: {cells.detail}", where=where, fix="Fix this line."
        )
    limits.check_columns(len(cells), where)
    if not is_utf8("".join(cells)):
        raise DataError("the header is not UTF-8", where=where, fix="Fix this line.")
    names = [cell.strip() or f"column_{number}" for number, cell in enumerate(cells, start=1)]
    check_duplicate_columns(names, where)
    return names
