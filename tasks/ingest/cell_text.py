"""Convert cells of any type to the texts of a record."""

import json
import math

from tasks.ingest.encoding import escape_surrogates, is_utf8
from tasks.ingest.parse_turns import parse_text
from tasks.ingest.rows import Fault, json_type
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.records import says_no_input


def clean_text(field: str, value: object, max_chars: int) -> str | Fault | None:
    """Return the text of a cell with LF line ends and without surrounding white space.

    Text with no visible characters becomes empty. Null and NaN become None.

    Args:
        field: The record's field, named in a fault.
        value: The cell.
        max_chars: The maximum length; a longer text is a fault.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if not isinstance(value, str):
        return Fault(IngestDrop.NOT_TEXT, f"expected text as {field}, not {json_type(value)}")
    if not (value.isascii() or is_utf8(value)):
        if not any("\udc80" <= c <= "\udcff" for c in value):
            fault = IngestDrop.LONE_SURROGATE, f"{field} contains a lone surrogate"
        else:  # readers mark invalid UTF-8 this way
            fault = IngestDrop.BAD_ENCODING, f"{field} is not UTF-8"
        return Fault(*fault)
    if "\0" in value:
        position = value.index("\0") + 1
        return Fault(IngestDrop.NUL, f"{field} contains a NUL at character {position}")
    text = value.replace("\r\n", "\n").replace("\r", "\n") if "\r" in value else value
    text = text.strip()
    if len(text) > max_chars:
        return Fault(IngestDrop.TOO_LONG, f"{field} has {len(text)} characters")
    # The first character is not a space; in most texts it is visible.
    is_visible = text and text[0].isprintable()
    return text if is_visible or any(c.isprintable() and not c.isspace() for c in text) else ""


def clean_input(value: object, max_chars: int) -> str | Fault:
    """Return an input, converted with `as_text` and cleaned; empty if it says there is none."""
    text = clean_text("input", as_text(value), max_chars)
    if not text or isinstance(text, Fault):
        return text or ""
    return "" if says_no_input(text) else text


def clean_output(value: object, max_chars: int) -> str | Fault | None:
    """Return an output, converted with `as_text` and cleaned; None if empty or ``<nooutput>``."""
    text = clean_text("output", as_text(value), max_chars)
    return None if not text or text == "<nooutput>" else text


def as_text(value: object) -> str | None:
    """Return text unchanged, null and NaN as None, and any other value as JSON."""
    if value is None or isinstance(value, str):
        return value
    return None if isinstance(value, float) and math.isnan(value) else to_json(value)


def json_of(value: object) -> str | None:
    """Return tools as JSON, any other text unchanged, or None if there are no tools."""
    parsed = parse_text(value) if isinstance(value, str) else value
    if isinstance(parsed, list | dict):
        return to_json(parsed) if parsed else None
    return value if isinstance(value, str) and value.strip() else None


def to_json(cells: object) -> str:
    """Return `cells` as JSON that any parser can read, with sorted keys.

    NaN and infinity become null. Values of types that JSON lacks are converted with ``str``.

    Raises:
        RecursionError: A value is nested too deeply.
    """
    try:
        return escape_surrogates(_dump(cells))
    except ValueError:
        return escape_surrogates(_dump(_without_nan(cells)))


def comparison_key(value: object) -> str | None:
    """Return a text that is the same for equal values, such as 1, ``"1"`` and 1.0.

    ``true`` and ``"True"`` are equal too. For lists, objects and null, return None.
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


# Created once, because json.dumps creates an encoder for each call.
_dump = json.JSONEncoder(ensure_ascii=False, sort_keys=True, allow_nan=False, default=str).encode


def _without_nan(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _without_nan(cell) for name, cell in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(cell) for cell in value]
    return value
