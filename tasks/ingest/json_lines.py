"""JSON lines: one object a line."""

import json
from typing import BinaryIO

from tasks.ingest.encoding import skip_mark
from tasks.ingest.rows import Fault, Row, Rows
from tasks.lib.core.drops import IngestDrop

KINDS = {
    bool: "a truth value",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def kind(value: object) -> str:
    """What `value` is, in the words of JSON."""
    return KINDS.get(type(value), type(value).__name__)


def as_row(value: object) -> Row | Fault:
    """`value` if it is an object, else the fault that it is not."""
    if isinstance(value, dict):
        return value
    return Fault(IngestDrop.NOT_OBJECT, f"expected an object, not {kind(value)}")


def read_json_lines(stream: BinaryIO, where: str) -> Rows:
    """Each line's object or fault; blank lines are passed over.

    Raises:
        DataError: The text is not UTF-8 throughout.
    """
    skip_mark(stream, where)
    for line, raw in enumerate(stream, start=1):
        if not raw.isspace():
            yield line, _parse(raw)


def _parse(raw: bytes) -> Row | Fault:
    try:
        return as_row(json.loads(raw.decode("utf-8")))
    except UnicodeDecodeError as error:
        return Fault(IngestDrop.BAD_ENCODING, f"not UTF-8 from byte {error.start + 1} of the line")
    except json.JSONDecodeError as error:
        return Fault(IngestDrop.NOT_JSON, f"{error.msg} at character {error.pos + 1}")
    except (ValueError, RecursionError) as error:  # a number or a nesting beyond Python's limits
        return Fault(IngestDrop.NOT_JSON, str(error))
