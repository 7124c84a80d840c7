"""One JSON array of objects, read element by element."""

import json
from typing import Any, BinaryIO, NamedTuple, TextIO

from tasks.ingest.encoding import HEAD_BYTES, as_text, escaped, is_utf8, peek_line, skip_mark
from tasks.ingest.json_lines import as_row, read_json_lines
from tasks.ingest.rows import Fault, Rows
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.errors import DataError

CHUNK_CHARS = 1 << 20
WHITE_SPACE = " \t\r\n"


def read_json(stream: BinaryIO, where: str) -> Rows:
    """Each object of an array or, since many a ``.json`` file holds them, of JSON lines.

    Memory holds a megabyte or a few elements, whichever is more.

    Raises:
        DataError: The text is not UTF-8 throughout, the array is not JSON, or the file holds one
            object that is no row.
    """
    skip_mark(stream, where)
    first = peek_line(stream).lstrip()
    if first.startswith(b"["):
        yield from _read_array(stream, where)
        return
    if first.startswith(b"{") and len(first) < HEAD_BYTES and _object(first) is None:
        _refuse_lone_object(stream.read(), where)
    stream.seek(0)
    yield from read_json_lines(stream, where)


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _refuse_lone_object(raw: bytes, where: str) -> None:
    """Stop if the whole text is one object spread over lines, which is no list of rows."""
    whole = _object(raw)
    if whole is None:
        return
    rows = next((name for name, value in whole.items() if isinstance(value, list)), "NAME")
    raise DataError(
        "expected a list of objects, and the file is one object",
        where=where,
        fix=f"Take the rows out of it: `jq -c '.{escaped(rows)}[]' OLD > NEW.jsonl`.",
    )


def _read_array(stream: BinaryIO, where: str) -> Rows:
    with as_text(stream) as file:
        window = _Window(file, where)
        window.take("[")
        is_open = window.peek() != "]"
        row = 0
        while is_open:
            row += 1
            element = window.element()
            if is_utf8(element.text):
                yield row, as_row(element.value)
            else:
                yield row, Fault(IngestDrop.BAD_ENCODING, "not UTF-8")
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
    """The stretch of the text that is being parsed."""

    def __init__(self, file: TextIO, where: str) -> None:
        self._file = file
        self._decode = json.JSONDecoder().raw_decode
        self._where = where
        self._text = ""
        self._at = 0
        self._line = 1  # of the first character of _text

    def peek(self) -> str:
        """The next character that is not white space, or empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in WHITE_SPACE:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, mark: str) -> None:
        """Step over `mark`."""
        if self.peek() != mark:
            raise self.error(f"expected {mark} in the array")
        self._at += 1

    def element(self) -> _Element:
        """Step over the next value, and return it with its text."""
        self.peek()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except ValueError as error:
                if self._more():
                    continue
                raise self.error(f"not JSON: {getattr(error, 'msg', error)}") from None
            except RecursionError:
                raise self.error("nested too deeply") from None
            if end == len(self._text) and self._more():
                continue  # a number may go on
            element = _Element(self._text[self._at : end], value)
            self._at = end
            return element

    def error(self, what: str) -> DataError:
        """A DataError about the place that is reached."""
        line = self._line + self._text.count("\n", 0, self._at)
        return DataError(what, where=f"{self._where}:{line}", fix="Mend the file there.")

    def _more(self) -> bool:
        """Forget what was stepped over and read on; whether there was more.

        It doubles what is left, so that the trials on one long element cost a few times its
        length and not its square.
        """
        left = self._text[self._at :]
        more = self._file.read(max(CHUNK_CHARS, len(left)))
        self._line += self._text.count("\n", 0, self._at)
        self._text, self._at = left + more, 0
        return bool(more)
