"""Read JSON files of any layout: lines, an array, consecutive objects, or an object with a list."""

import io
import json
import re
from collections.abc import Iterator
from enum import Enum, auto
from typing import Any, TextIO

from tasks.ingest.detect_columns import CHATS, NAMES, RARE_CHATS, detect, plain_name
from tasks.ingest.encoding import HEAD_BYTES, as_text, escape_surrogates, skip_bom
from tasks.ingest.json_lines import as_row, read_json_lines
from tasks.ingest.json_window import JsonValue, JsonWindow
from tasks.ingest.reshape_hints import jq, reshape
from tasks.ingest.rows import Rows
from tasks.ingest.unpack_limit import ReadBound
from tasks.lib.core.errors import DataError
from tasks.lib.core.events import log

_DECODE = json.JSONDecoder().raw_decode
_PYTHON = re.compile(r"\[?\s*\{\s*'")
AS_JSON = (
    "Write them as JSON: `python -c 'import ast, json, sys; "
    "[print(json.dumps(ast.literal_eval(row))) for row in sys.stdin]' < OLD > NEW.jsonl`."
)
N_OBJECTS = 3  # values kept from an object without a list of rows, to find out what it is
# A list of objects with these keys is one conversation, not a list of rows.
TURN_KEYS = {"role", "from"}
# Columns with a conversation; a list with any other name may be the list of rows.
CHAT_COLUMNS = {*CHATS, *RARE_CHATS, *NAMES["instruction"]} - {"data", "items"}


class JsonLayout(Enum):
    """How the rows of a JSON file are arranged."""

    LINES = auto()
    ARRAY = auto()
    SEQUENCE = auto()  # objects that span several lines
    OBJECT = auto()  # one object, with the rows in a list


def read_json(stream: io.BufferedReader, where: str, bound: ReadBound, *, is_lines: bool) -> Rows:
    """Yield each object in the file; the start of the file determines its layout.

    JSON lines and consecutive objects are numbered by line, elements of a list by position.
    `is_lines` means that the file has a JSON lines suffix; its lines may be lists.

    Raises:
        DataError: The text is not UTF-8, is so broken that the next row cannot be found, or is a
            single object that contains no list of rows, or more than one.
    """
    skip_bom(stream, where)
    raw = stream.peek()
    head = raw.decode("utf-8", "surrogateescape")
    is_whole = len(raw) < HEAD_BYTES - 3
    layout = _find_layout(head.lstrip(), where, is_whole=is_whole, is_lines=is_lines)
    if layout is JsonLayout.LINES:
        yield from read_json_lines(stream, bound.limits)
        return
    if layout is JsonLayout.OBJECT and is_lines:
        log.warning(
            "ingest: %s is one object with a list, and the items of the list are read as rows; if "
            "the object is one row, rename its instruction column to instruction",
            where,
        )
    with as_text(stream) as text:
        yield from _READ[layout](text, where, bound)


def _find_layout(head: str, where: str, *, is_whole: bool, is_lines: bool) -> JsonLayout:
    """Return the layout of a file, given its beginning without leading white space."""
    if _PYTHON.match(head):
        raise DataError("the rows are Python dicts, not JSON objects", where=where, fix=AS_JSON)
    if not head.startswith(("[", "{")):
        return JsonLayout.LINES
    lines = [line for line in head.split("\n") if line.strip()]
    if head.startswith("["):
        are_lists = len(lines) > 1 and is_json(lines[0]) and lines[1].startswith("[")
        return JsonLayout.LINES if is_lines and are_lists else JsonLayout.ARRAY
    try:
        value, end = _DECODE(head)
    except (ValueError, RecursionError):
        return _layout_of_partial(head, lines, is_whole=is_whole)
    if not head[end:].strip() and is_whole:
        inner = {key for key, cell in value.items() if isinstance(cell, dict) or _holds_rows(cell)}
        others = {key: cell for key, cell in value.items() if key not in inner}
        is_line = is_lines and "\n" not in head[:end]
        column = plain_name(detect([value]).columns.get("instruction", ""))
        if "instruction" in detect([others]).columns or (is_line and column in CHAT_COLUMNS):
            return JsonLayout.SEQUENCE  # one row; its lists are parts of it
        has_rows = any(map(_holds_rows, value.values()))
        return JsonLayout.OBJECT if has_rows or "\n" in head[:end] else JsonLayout.LINES
    is_followed = head[end:].lstrip(" \t\r").startswith((",", "{"))
    return JsonLayout.SEQUENCE if "\n" in head[:end] or is_followed else JsonLayout.LINES


def _layout_of_partial(head: str, lines: list[str], *, is_whole: bool) -> JsonLayout:
    """Return the layout if the first object is broken or does not end within the head."""
    later = lines[1:] if is_whole else lines[1:-1]  # the last line may be cut
    if any(line.startswith("{") and is_json(line) for line in later):
        return JsonLayout.LINES  # the first line is broken, but not every line
    if _begins_with_rows(head):
        return JsonLayout.OBJECT
    return JsonLayout.SEQUENCE if later else JsonLayout.LINES


def _begins_with_rows(head: str) -> bool:
    """Return whether the first list in a truncated object is a list of rows."""
    position = 1
    try:
        while True:
            _, position = _DECODE(head, position + _n_blank(head, position))
            position += _n_blank(head, position) + 1  # the colon
            position += _n_blank(head, position)
            if head[position] == "[":
                inner = position + 1 + _n_blank(head, position + 1)
                if head[inner] == "{":
                    return not any(f'"{key}"' in head[inner : inner + 200] for key in TURN_KEYS)
            _, position = _DECODE(head, position)
            position += _n_blank(head, position) + 1  # the comma
    except (ValueError, IndexError, RecursionError):
        return False


def _n_blank(text: str, start: int) -> int:
    return len(text) - start - len(text[start:].lstrip())


def is_json(text: str) -> bool:
    """Return whether a text is one JSON value."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _holds_rows(value: object) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and isinstance(value[0], dict)
        and TURN_KEYS.isdisjoint(value[0])
    )


def _read_array(text: TextIO, where: str, bound: ReadBound) -> Rows:
    window = JsonWindow(text, where, bound)
    for number, element in enumerate(_elements(window), start=1):
        yield number, as_row(element.value, bound.limits)
    if window.peek():
        raise window.error("expected nothing after the array")


def _read_sequence(text: TextIO, where: str, bound: ReadBound) -> Rows:
    window = JsonWindow(text, where, bound)
    while window.peek():
        value = window.take_value()
        yield value.line, as_row(value.value, bound.limits)
        if window.peek() == ",":
            window.take(",")


def _read_object(text: TextIO, where: str, bound: ReadBound) -> Rows:
    """Yield the rows of the only list of objects in an object; skip all other values."""
    window = JsonWindow(text, where, bound)
    window.take("{")
    keys: list[str] = []
    objects: dict[str, Any] = {}
    rows_key: str | None = None
    first_row = None
    while window.peek() not in ("}", ""):
        key = escape_surrogates(str(window.take_value().value))
        keys.append(key)
        window.take(":")
        if window.peek() == "[":
            elements = _elements(window)
            first = next(elements, None)
            if first and isinstance(first.value, dict) and TURN_KEYS.isdisjoint(first.value):
                if rows_key is not None:
                    raise _ambiguous(where, {rows_key: first_row, key: first.value})
                rows_key, first_row = key, first.value
                yield 1, as_row(first.value, bound.limits)
                for number, element in enumerate(elements, start=2):
                    yield number, as_row(element.value, bound.limits)
            else:
                for _ in elements:
                    pass
        else:
            value = window.take_value().value
            if len(objects) < N_OBJECTS:
                objects[key] = value
        if window.peek() != "}":
            window.take(",")
    window.take("}")
    if window.peek():
        raise window.error("expected nothing after the object")
    if rows_key is None:
        raise DataError(
            "expected a list of objects, but the file is one object with the keys "
            f"{', '.join(keys[:10]) or 'none'}",
            where=where,
            fix=f"Extract its rows: {reshape(objects) or jq('.NAME[]')}, "
            f"or {jq('.')} if the object itself is a row.",
        )


def _ambiguous(where: str, rows: dict[str, Any]) -> DataError:
    known = (key for key, row in rows.items() if "instruction" in detect([row]).columns)
    program = f".[{json.dumps(next(known, next(iter(rows))))}][]"
    return DataError(
        f"the file is one object with several lists of objects: {' and '.join(rows)}",
        where=where,
        fix=f"Extract the list that is the pool: {jq(program)}.",
    )


def _elements(window: JsonWindow) -> Iterator[JsonValue]:
    """Yield the elements of the next array."""
    window.take("[")
    is_open = window.peek() != "]"
    while is_open:
        yield window.take_value()
        is_open = window.peek() != "]"
        if is_open:
            window.take(",")
    window.take("]")


_READ = {
    JsonLayout.ARRAY: _read_array,
    JsonLayout.SEQUENCE: _read_sequence,
    JsonLayout.OBJECT: _read_object,
}
