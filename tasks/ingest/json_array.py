"""One JSON array of objects, read element by element.

Our own parser, because ijson stops at the first byte that is not UTF-8, names no line in its
errors, and has no limit on nesting.
"""

import io
import json
from typing import Any, NamedTuple, TextIO

from tasks.ingest.encoding import HEAD_BYTES, as_text, escape_surrogates, is_utf8, skip_bom
from tasks.ingest.json_lines import as_row, read_json_lines
from tasks.ingest.rows import Fault, Rows
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.errors import DataError

CHUNK_CHARS = 1 << 20
WHITE_SPACE = " \t\r\n"


def read_json(stream: io.BufferedReader, where: str) -> Rows:
    """Yield each object of an array, or of JSON lines, which many ``.json`` files hold.

    Memory holds a megabyte or a few elements, whichever is more.

    Raises:
        DataError: The text is in another encoding than UTF-8, the array is not valid JSON, or the
            whole file is one object, which is not a list of rows.
    """
    skip_bom(stream, where)
    head = stream.peek().lstrip()
    if head.startswith(b"["):
        yield from _read_array(stream, where)
        return
    first_line, newline, _ = head.partition(b"\n")
    if head.startswith(b"{") and newline and _object(first_line) is None:
        content = stream.read()
        _refuse_single_object(content, where)
        stream = io.BufferedReader(io.BytesIO(content), HEAD_BYTES)
    yield from read_json_lines(stream, where)


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _refuse_single_object(content: bytes, where: str) -> None:
    """Raise a DataError if the whole text is one object that spans several lines."""
    whole = _object(content)
    if whole is None:
        return
    rows = next((name for name, value in whole.items() if isinstance(value, list)), "NAME")
    raise DataError(
        "expected a list of objects, and the file is one object",
        where=where,
        fix=f"Extract its rows: `jq -c '.{escape_surrogates(rows)}[]' OLD > NEW.jsonl`.",
    )


def _read_array(stream: io.BufferedReader, where: str) -> Rows:
    with as_text(stream) as file:
        window = _Window(file, where)
        window.take("[")
        is_open = window.peek() != "]"
        number = 0
        while is_open:
            number += 1
            element = window.take_element()
            if is_utf8(element.text):
                yield number, as_row(element.value)
            else:
                yield number, Fault(IngestDrop.BAD_ENCODING, "not UTF-8")
            is_open = window.peek() != "]"
            if is_open:
                window.take(",")
        window.take("]")
        if window.peek():
            raise window.error("expected nothing after the array")


class _Element(NamedTuple):
    text: str
    value: object


class _Window:
    """The part of the text that is in memory, and the current position in it."""

    def __init__(self, file: TextIO, where: str) -> None:
        self._file = file
        self._decode = json.JSONDecoder().raw_decode
        self._where = where
        self._text = ""
        self._position = 0
        self._line = 1  # of the first character of _text

    def peek(self) -> str:
        """Return the next character that is not white space, or empty at the end."""
        while True:
            while self._position < len(self._text) and self._text[self._position] in WHITE_SPACE:
                self._position += 1
            if self._position < len(self._text):
                return self._text[self._position]
            if not self._read_more():
                return ""

    def take(self, mark: str) -> None:
        """Step over `mark`, which must come next."""
        if self.peek() != mark:
            raise self.error(f"expected {mark} in the array")
        self._position += 1

    def take_element(self) -> _Element:
        """Step over the next value; return it with its text."""
        self.peek()
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
                continue  # a number may go on
            element = _Element(self._text[self._position : end], value)
            self._position = end
            return element

    def error(self, what: str) -> DataError:
        """Return a DataError about the current line."""
        line = self._line + self._text.count("\n", 0, self._position)
        return DataError(what, where=f"{self._where}:{line}", fix="Fix the file there.")

    def _read_more(self) -> bool:
        """Drop the text before the position and read on; return whether there was more.

        Each call doubles the rest, so that repeated attempts at one long element cost a few times
        its length and not its square.
        """
        rest = self._text[self._position :]
        more = self._file.read(max(CHUNK_CHARS, len(rest)))
        self._line += self._text.count("\n", 0, self._position)
        self._text, self._position = rest + more, 0
        return bool(more)
