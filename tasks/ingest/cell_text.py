"""Cells of any type as the text of a record."""

import json
import math

from tasks.ingest.encoding import escape_surrogates, is_utf8
from tasks.ingest.rows import Fault, json_type
from tasks.ingest.turns import parse_text
from tasks.lib.core.drops import IngestDrop

# What data sets write into the column of the input where there is none.
NOTHING = frozenset(
    [
        *("noinput", "no input", "no input required", "no input needed", "no input provided"),
        *("n/a", "none", "null", "nan", "not applicable"),
    ]
)
MAX_NOTHING = 30  # characters of such an input
AROUND = " .,?<>[](){}\"'`\\"


def clean_text(field: str, value: object, max_chars: int) -> str | Fault | None:
    """Return the text of a cell, with LF line ends and no surrounding white space.

    Text without a visible character becomes empty. Return None for null and NaN.

    Args:
        field: Field of the record, for the message of a fault.
        value: The cell.
        max_chars: Length above which a text is a fault.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if not isinstance(value, str):
        return Fault(IngestDrop.NOT_TEXT, f"{field} is {json_type(value)}")
    if not is_utf8(value):
        if not any("\udc80" <= c <= "\udcff" for c in value):
            fault = IngestDrop.LONE_SURROGATE, f"{field} holds half a surrogate pair"
        else:  # which is how readers mark a byte that is not UTF-8
            fault = IngestDrop.BAD_ENCODING, f"{field} is not UTF-8"
        return Fault(*fault)
    if "\0" in value:
        return Fault(IngestDrop.NUL, f"{field} holds a NUL at character {value.index(chr(0)) + 1}")
    text = value.replace("\r\n", "\n").replace("\r", "\n").strip()
    if len(text) > max_chars:
        return Fault(IngestDrop.TOO_LONG, f"{field} has {len(text)} characters")
    return text if any(c.isprintable() and not c.isspace() for c in text) else ""


def clean_input(value: object, max_chars: int) -> str | Fault:
    """Return an input as text, as `as_text` does; empty if it only says that there is none."""
    text = clean_text("input", as_text(value), max_chars)
    if not text or isinstance(text, Fault):
        return text or ""
    return "" if len(text) <= MAX_NOTHING and text.casefold().strip(AROUND) in NOTHING else text


def clean_output(value: object, max_chars: int) -> str | Fault | None:
    """Return an output as text, as `as_text` does; None if it is empty."""
    text = clean_text("output", as_text(value), max_chars)
    return None if not text or text == "<nooutput>" else text


def as_text(value: object) -> str | None:
    """Return a text unchanged, null and NaN as None, and any other value as JSON."""
    if value is None or isinstance(value, str):
        return value
    return None if isinstance(value, float) and math.isnan(value) else to_json(value)


def json_of(value: object) -> str | None:
    """Return tools as JSON text, the same for a list and for its JSON text; None if empty."""
    parsed = parse_text(value) if isinstance(value, str) else value
    if isinstance(parsed, list | dict):
        return to_json(parsed) if parsed else None
    return value if isinstance(value, str) and value.strip() else None


def to_json(cells: object) -> str:
    """Return `cells` as JSON that any parser reads, with sorted keys.

    Numbers that JSON lacks (NaN, infinity) become null. Values of types that JSON lacks become
    their ``str``.

    Raises:
        RecursionError: A value is nested too deeply.
    """
    try:
        return escape_surrogates(_dump(cells))
    except ValueError:
        return escape_surrogates(_dump(_without_nan(cells)))


def comparison_key(value: object) -> str | None:
    """Return the same text for equal values: ``true`` and ``"True"``, or 1, ``"1"`` and 1.0.

    Return None for lists, objects and null, which equal nothing.
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


def _dump(cells: object) -> str:
    return json.dumps(cells, ensure_ascii=False, sort_keys=True, allow_nan=False, default=str)


def _without_nan(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _without_nan(cell) for name, cell in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(cell) for cell in value]
    return value
