"""Find the delimiter and quotes of a text table by trying out the candidates.

The score of a dialect is the number of rows that it misreads at the start of the file. csv.Sniffer
was wrong about most of the dialects in our tests. clevercsv was right, but took six times as long,
and its dialect for escaped quotes also removes every other backslash.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from tasks.lib.core.errors import ParamError, nearest
from tasks.lib.core.params import PARAMS_FILE

if TYPE_CHECKING:
    import _csv

DELIMITERS = ",;\t|"
NO_DELIMITER = "\x1f"  # for a table with one column; no text contains it
# Number of additional rows that unusual quotes must read correctly to be chosen: one row with a
# stray quote is a faulty row, not a dialect.
MIN_BETTER = {",": 2, ";": 2, "|": 2, "\t": 1, NO_DELIMITER: 2}

_SEP_LINE = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)
_ESCAPED_QUOTE = re.compile(r'((?:\\\\)*)\\"')


class Quotes(StrEnum):
    """How a cell with delimiters or line ends is quoted."""

    DOUBLED = "double"  # "...", with "" for a quote inside
    BACKSLASH = "backslash"  # "...", with \" for a quote inside
    NONE = "none"  # quotes are part of the text
    SINGLE = "single"  # '...', with '' for a quote inside
    SPACED = "spaced"  # like DOUBLED, but a space may follow a delimiter


class Dialect(NamedTuple):
    """The delimiter and quotes of a table."""

    delimiter: str
    quotes: Quotes
    n_skipped: int = 0  # lines before the header

    def reader(self, lines: Iterable[str]) -> "_csv.Reader":
        """Return a strict row reader, since a lenient one silently joins rows at a stray quote."""
        if self.quotes is Quotes.BACKSLASH:
            lines = (_ESCAPED_QUOTE.sub(r'\1""', line) for line in lines)
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar="'" if self.quotes is Quotes.SINGLE else '"',
            skipinitialspace=self.quotes is Quotes.SPACED,
            quoting=csv.QUOTE_NONE if self.quotes is Quotes.NONE else csv.QUOTE_MINIMAL,
            strict=True,
        )

    def __str__(self) -> str:
        separator = "one column" if self.delimiter == NO_DELIMITER else f"{self.delimiter!r}"
        return f"separated by {separator}, quotes: {self.quotes}"


def check_table_keys(table: Mapping[str, str]) -> None:
    """Check the keys and values of ``ingest.table``.

    Raises:
        ParamError: A key is unknown, or its value is not allowed.
    """
    known = {"delimiter": [], "quotes": list(Quotes)}
    for key, value in table.items():
        if key not in known:
            raise ParamError(
                f"ingest.table.{key} is unknown{nearest(key, known)}",
                where=PARAMS_FILE,
                fix=f"Use one of: {', '.join(known)}.",
            )
        if value not in known[key] if key == "quotes" else len(value) != 1:
            expected = (
                f"one of {', '.join(Quotes)}" if key == "quotes" else 'one character, such as ";"'
            )
            raise ParamError(
                f"ingest.table.{key}: expected {expected}, not {value!r}",
                where=PARAMS_FILE,
                fix=f"Set it with -S 'ingest.table={{{key}: VALUE}}', or detect it with "
                "-S 'ingest.table={}'.",
            )


def find_dialect(head: str, is_whole: bool, is_tsv: bool, chosen: Mapping[str, str]) -> Dialect:
    """Return the dialect in which most rows have the same number of cells as the header.

    Args:
        head: The beginning of the file, without a byte order mark.
        is_whole: Whether the head is the whole file.
        is_tsv: Whether the file name says that tabs separate the cells.
        chosen: The values of ``ingest.table``, which are used unchanged.
    """
    stated = _SEP_LINE.match(head)
    head = head[stated.end() :] if stated else head
    lines = io.StringIO(head, newline="").readlines()
    if not is_whole and len(lines) > 1:
        lines.pop()  # it may be incomplete
    header = next((line for line in lines if line.strip()), "")
    delimiters = [d for d in DELIMITERS if d in header] or [NO_DELIMITER]
    if is_tsv and "\t" in header:
        delimiters = ["\t"]
    delimiters = [stated[1]] if stated else delimiters
    delimiters = [chosen["delimiter"]] if "delimiter" in chosen else delimiters
    quotes = [Quotes(chosen["quotes"])] if "quotes" in chosen else list(Quotes)
    tried = {
        (delimiter, quote): _n_misread(Dialect(delimiter, quote), lines, is_whole)
        for delimiter, quote in product(delimiters, quotes)
    }
    best = {delimiter: min(tried[delimiter, quote] for quote in quotes) for delimiter in delimiters}
    delimiter = min(delimiters, key=lambda d: (best[d], -header.count(d)))
    first = quotes[0]
    quote = min(quotes, key=lambda q: (tried[delimiter, q], quotes.index(q)))
    if tried[delimiter, first] - tried[delimiter, quote] < MIN_BETTER.get(delimiter, 2):
        quote = first
    return Dialect(delimiter, quote, 1 if stated else 0)


def n_row_like(lines: Sequence[str], delimiter: str, n_columns: int) -> int:
    """Return how many lines look like rows, judging by delimiters not followed by a space."""
    counts = [line.count(delimiter) - line.count(f"{delimiter} ") for line in lines]
    return counts.count(n_columns - 1) if n_columns > 1 else 0


def _n_misread(dialect: Dialect, lines: list[str], is_whole: bool) -> int:
    """Return the number of rows that are faulty or probably misread."""
    reader = dialect.reader(lines)
    n_columns = n_misread = start = 0
    for cells in _rows(reader):
        read, start = lines[start : reader.line_num], reader.line_num
        n_alike = n_row_like(read, dialect.delimiter, n_columns) if len(read) > 1 else 0
        if cells is None:
            is_cut = not is_whole and start == len(lines)
            n_misread += not is_cut or n_alike == len(read)
        elif not n_columns:
            n_columns = len(cells)
            if n_columns == 1 and dialect.delimiter != NO_DELIMITER:
                return len(lines)
        elif cells:
            is_joined = n_alike == len(read)
            n_misread += len(cells) != n_columns or is_joined or _is_quoted(cells, dialect)
    return n_misread


def _is_quoted(cells: list[str], dialect: Dialect) -> bool:
    """Return whether cells are still in quotes that another dialect would remove."""
    if dialect.quotes is Quotes.NONE and any(_is_wrapped(cell, '"') for cell in cells):
        return True
    return dialect.quotes is not Quotes.SINGLE and all(_is_wrapped(cell, "'") for cell in cells)


def _is_wrapped(cell: str, quote: str) -> bool:
    return len(cell) > 1 and cell[0] == cell[-1] == quote


def _rows(reader: "_csv.Reader") -> Iterator[list[str] | None]:
    """Yield the cells of each row, or None for a row that cannot be read."""
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield None
