"""Cells of any file as the text of a record."""

import json
import math
from collections.abc import Mapping

from tasks.ingest.encoding import escaped, is_utf8
from tasks.ingest.json_lines import kind
from tasks.ingest.rows import Fault
from tasks.lib.core.drops import IngestDrop


def clean_text(name: str, value: object, max_chars: int) -> str | Fault | None:
    """The text of a cell with line ends as LF and without outer white space; else as it is.

    Text without one visible character becomes empty. None if there is no value: null or NaN.

    Args:
        name: The part of the record that it is, for the fault.
        value: The cell.
        max_chars: The length above which a text is a fault.
    """
    if is_null(value):
        return None
    if not isinstance(value, str):
        return Fault(IngestDrop.NOT_TEXT, f"{name} is {kind(value)}")
    if not is_utf8(value):
        return Fault(IngestDrop.LONE_SURROGATE, f"{name} holds half a surrogate pair")
    if "\0" in value:
        return Fault(IngestDrop.NUL, f"{name} holds a NUL at character {value.index(chr(0)) + 1}")
    text = value.replace("\r\n", "\n").replace("\r", "\n").strip()
    if len(text) > max_chars:
        return Fault(IngestDrop.TOO_LONG, f"{name} has {len(text)} characters")
    return text if any(c.isprintable() and not c.isspace() for c in text) else ""


def is_null(value: object) -> bool:
    """Whether there is no value: null, or the NaN that tables write for it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def to_json(cells: Mapping[str, object]) -> str:
    """JSON text of `cells` with sorted keys, that any JSON parser reads.

    Numbers that JSON does not have (NaN, infinite) become null, and values of other types the
    text that Python shows for them.

    Raises:
        RecursionError: A value is nested too deeply.
    """
    try:
        return escaped(_dumped(cells))
    except ValueError:
        return escaped(_dumped(_finite(cells)))


def matchable(value: object) -> str | None:
    """What `value` is compared by: the same for ``true``, ``"True"`` or 1, ``"1"``, 1.0.

    None for lists, objects and null, which match nothing.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str):
        text = value.strip()
        return text.lower() if text.lower() in {"true", "false"} else text
    return None


def _dumped(cells: object) -> str:
    return json.dumps(cells, ensure_ascii=False, sort_keys=True, allow_nan=False, default=str)


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _finite(cell) for name, cell in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(cell) for cell in value]
    return value
