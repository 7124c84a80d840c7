"""Read lines of bounded length, and plain text with one instruction per line."""

import io
from collections.abc import Iterator
from typing import TextIO

from tasks.ingest.encoding import skip_bom
from tasks.ingest.rows import Rows
from tasks.ingest.unpack_limit import ReadLimits


def read_text(stream: io.BufferedReader, where: str, limits: ReadLimits) -> Rows:
    """Yield each non-blank line as a row with an ``instruction`` column.

    Raises:
        DataError: The text is not UTF-8.
    """
    skip_bom(stream, where)
    for line, raw in lines(stream, limits.max_row_chars):
        if raw is None:
            yield line, limits.too_long_row
        elif not raw.isspace():
            text = raw.decode("utf-8", "surrogateescape")
            yield line, {"instruction": text.rstrip("\r\n")}


def lines(stream: io.BufferedReader, max_bytes: int) -> Iterator[tuple[int, bytes | None]]:
    """Yield each line with its number, or None for a line that is too long."""
    number = 0
    while raw := stream.readline(max_bytes):
        number += 1
        if len(raw) < max_bytes or raw.endswith(b"\n"):
            yield number, raw
            continue
        yield number, None
        while raw and not raw.endswith(b"\n"):
            raw = stream.readline(max_bytes)


class RowLines:
    """The lines of a text table; a row may span several."""

    def __init__(self, text: TextIO, where: str, limits: ReadLimits) -> None:
        self._text, self._where, self._limits = text, where, limits
        self._number, self._left = 0, limits.max_row_chars

    def __iter__(self) -> Iterator[str]:
        """Yield each line.

        Raises:
            DataError: The lines since the last call to `start_row` are too long.
        """
        while line := self._text.readline(max(1, self._left)):
            self._number += 1
            self._left -= len(line)
            if self._left <= 0:
                raise self._limits.too_long("the row", f"{self._where}:{self._number}")
            yield line

    def start_row(self) -> None:
        """Note that the next line begins a row."""
        self._left = self._limits.max_row_chars
