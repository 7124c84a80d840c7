"""Read JSON text value by value, with only a megabyte or a few values in memory.

This is our own parser, because ijson stops at the first byte that is not UTF-8, gives no line
number in its errors, and does not limit nesting.
"""

import json
import re
from typing import NamedTuple, TextIO

from tasks.ingest.unpack_limit import VALUE_BYTES, ReadBound
from tasks.lib.core.errors import DataError

CHUNK_CHARS = 1 << 20
_BLANK = re.compile(r"[ \t\r\n]*")


class JsonValue(NamedTuple):
    """A value, and the line on which it starts."""

    value: object
    line: int


class JsonWindow:
    """The part of the text that is in memory, and the current position in it."""

    def __init__(self, file: TextIO, where: str, bound: ReadBound) -> None:
        self._file, self._bound = file, bound
        self._decode = json.JSONDecoder().raw_decode
        self._where = where
        self._text = ""
        self._position = 0
        self._line = 1  # of the first character after _counted
        self._counted = 0

    def peek(self) -> str:
        """Return the next character that is not white space; empty at the end."""
        while True:
            self._position = _skip_blank(self._text, self._position)
            if self._position < len(self._text):
                return self._text[self._position]
            if not self._read_more():
                return ""

    def take(self, mark: str) -> None:
        """Step over `mark`, which must come next."""
        if self.peek() != mark:
            raise self.error(f"expected {mark}")
        self._position += 1

    def take_value(self) -> JsonValue:
        """Step over the next value and return it.

        Raises:
            DataError: There is no JSON value here, it is too long or nested too deeply, or the
                source has too many values.
        """
        self.peek()
        self._bound.add(VALUE_BYTES, self._where)
        while True:
            try:
                value, end = self._decode(self._text, self._position)
            except ValueError as error:
                if self._read_more():
                    continue
                raise self.error(f"not JSON: {getattr(error, 'msg', error)}") from None
            except RecursionError:
                raise self.error("nested too deeply") from None
            if end == len(self._text) and self._read_more():
                continue  # a number may continue
            taken = JsonValue(value, self.line())
            self._position = end
            return taken

    def line(self) -> int:
        """Return the number of the current line."""
        self._line += self._text.count("\n", self._counted, self._position)
        self._counted = self._position
        return self._line

    def error(self, what: str) -> DataError:
        """Return a DataError about the current line."""
        return DataError(what, where=f"{self._where}:{self.line()}", fix="Fix the file there.")

    def _read_more(self) -> bool:
        """Drop the text before the position and read more; return whether there was more.

        Each call at least doubles the remaining text, so that the time for one long value grows
        linearly with its length, not quadratically.

        Raises:
            DataError: A value is too long.
        """
        self.line()
        rest = self._text[self._position :]
        limits = self._bound.limits
        if len(rest) > limits.max_row_chars:
            raise limits.too_long("a value", f"{self._where}:{self.line()}")
        more = self._file.read(max(CHUNK_CHARS, len(rest)))
        self._text, self._position, self._counted = rest + more, 0, 0
        return bool(more)


def _skip_blank(text: str, start: int) -> int:
    blank = _BLANK.match(text, start)
    return blank.end() if blank else start
