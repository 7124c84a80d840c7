"""JSON lines: one object per line."""

import io
import json

from tasks.ingest.encoding import skip_bom
from tasks.ingest.rows import Fault, Row, Rows, json_type
from tasks.lib.core.drops import IngestDrop


def read_json_lines(stream: io.BufferedReader, where: str) -> Rows:
    """Yield the object of each line, or the fault of the line; skip blank lines.

    Raises:
        DataError: The text is in another encoding than UTF-8.
    """
    skip_bom(stream, where)
    for line, raw in enumerate(stream, start=1):
        if not raw.isspace():
            yield line, _parse(raw)


def as_row(value: object) -> Row | Fault:
    """Return `value` if it is an object, else a fault."""
    if isinstance(value, dict):
        return value
    return Fault(IngestDrop.NOT_OBJECT, f"expected an object, not {json_type(value)}")


def _parse(raw: bytes) -> Row | Fault:
    try:
        return as_row(json.loads(raw.decode("utf-8")))
    except UnicodeDecodeError as error:
        return Fault(IngestDrop.BAD_ENCODING, f"not UTF-8 from byte {error.start + 1} of the line")
    except json.JSONDecodeError as error:
        return Fault(IngestDrop.NOT_JSON, f"{error.msg} at character {error.pos + 1}")
    except (ValueError, RecursionError) as error:  # a number or a nesting beyond Python's limits
        return Fault(IngestDrop.NOT_JSON, str(error))
