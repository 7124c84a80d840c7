"""Read lines of bounded length, and plain text with one instruction per line."""

import io
from collections.abc import Iterator
from typing import TextIO

from tasks.ingest.encoding import skip_bom
from tasks.ingest.rows import Fault, Rows
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.errors import DataError

# Longer than any real row, and short enough that a row's values fit in memory.
MAX_ROW_CHARS = 1 << 24


def read_text(stream: io.BufferedReader, where: str) -> Rows:
    """Yield each line that is not blank as a row with the column ``instruction``.

    Raises:
        DataError: The text is not UTF-8.
    """
    skip_bom(stream, where)
    for line, raw in lines(stream):
        if raw is None:
            yield line, TOO_LONG_ROW
        elif not raw.isspace():
            text = raw.decode("utf-8", "surrogateescape")
            yield line, {"instruction": text.rstrip("\r\n")}


TOO_LONG_ROW = Fault(IngestDrop.TOO_LONG, f"the row has more than {MAX_ROW_CHARS:,} bytes")


def lines(stream: io.BufferedReader) -> Iterator[tuple[int, bytes | None]]:
    """Yield each line with its number, or None for a line that is too long."""
    number = 0
    while raw := stream.readline(MAX_ROW_CHARS):
        number += 1
        if len(raw) < MAX_ROW_CHARS or raw.endswith(b"\n"):
            yield number, raw
            continue
        yield number, None
        while raw and not raw.endswith(b"\n"):
            raw = stream.readline(MAX_ROW_CHARS)


def text_lines(text: TextIO, where: str) -> Iterator[str]:
    """Yield each line of a table of text.

    Raises:
        DataError: A line is longer than `MAX_ROW_CHARS`.
    """
    number = 0
    while line := text.readline(MAX_ROW_CHARS):
        number += 1
        if len(line) >= MAX_ROW_CHARS:
            raise DataError(
                f"the line has more than {MAX_ROW_CHARS:,} characters",
                where=f"{where}:{number}",
                fix="Check that the file is a table of text.",
            )
        yield line
