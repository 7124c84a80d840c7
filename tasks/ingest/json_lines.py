"""Read JSON lines: one object per line."""

import io
import json

from tasks.ingest.rows import Fault, Row, Rows, json_type
from tasks.ingest.text_lines import lines
from tasks.ingest.unpack_limit import ReadLimits
from tasks.lib.core.drops import IngestDrop

SEPARATORS = b"\xef\xbb\xbf\x1e"  # byte order mark where files were joined; RFC 7464 separator


def read_json_lines(stream: io.BufferedReader, limits: ReadLimits) -> Rows:
    """Yield the object of each line, or the fault of the line; skip blank lines."""
    for line, raw in lines(stream, limits.max_row_chars):
        if raw is None:
            yield line, limits.too_long_row
        elif not raw.isspace():
            yield line, _parse(raw, limits)


def as_row(value: object, limits: ReadLimits) -> Row | Fault:
    """Return `value` if it is an object without too many columns; otherwise return a fault."""
    if isinstance(value, dict):
        if len(value) <= limits.max_columns:
            return value
        return Fault(
            IngestDrop.TOO_LONG,
            f"the row has {len(value):,} columns, but ingest.max_columns allows "
            f"{limits.max_columns:,}",
        )
    return Fault(IngestDrop.NOT_OBJECT, f"expected an object, not {json_type(value)}")


def _parse(raw: bytes, limits: ReadLimits) -> Row | Fault:
    try:
        return as_row(json.loads(raw.lstrip(SEPARATORS).decode("utf-8", "surrogateescape")), limits)
    except json.JSONDecodeError as error:
        return Fault(IngestDrop.NOT_JSON, f"{error.msg} at character {error.pos + 1}")
    except (ValueError, RecursionError) as error:  # a number or nesting beyond Python's limits
        return Fault(IngestDrop.NOT_JSON, str(error))
