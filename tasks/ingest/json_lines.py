"""Read JSON lines: one object per line."""

import io
import json

from tasks.ingest.rows import Fault, Row, Rows, json_type
from tasks.ingest.text_lines import TOO_LONG_ROW, lines
from tasks.lib.core.drops import IngestDrop

SEPARATORS = b"\xef\xbb\xbf\x1e"  # a byte order mark where files were joined; RFC 7464


def read_json_lines(stream: io.BufferedReader) -> Rows:
    """Yield the object of each line, or the fault of the line; skip blank lines."""
    for line, raw in lines(stream):
        if raw is None:
            yield line, TOO_LONG_ROW
        elif not raw.isspace():
            yield line, _parse(raw)


def as_row(value: object) -> Row | Fault:
    """Return `value` if it is an object; otherwise return a fault."""
    if isinstance(value, dict):
        return value
    return Fault(IngestDrop.NOT_OBJECT, f"expected an object, not {json_type(value)}")


def _parse(raw: bytes) -> Row | Fault:
    try:
        return as_row(json.loads(raw.lstrip(SEPARATORS).decode("utf-8", "surrogateescape")))
    except json.JSONDecodeError as error:
        return Fault(IngestDrop.NOT_JSON, f"{error.msg} at character {error.pos + 1}")
    except (ValueError, RecursionError) as error:  # a number or a nesting beyond Python's limits
        return Fault(IngestDrop.NOT_JSON, str(error))
