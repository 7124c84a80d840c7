"""Define the rows that a reader yields, and the faults of rows that cannot be used."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from tasks.lib.core.drops import IngestDrop

Row: TypeAlias = Mapping[str, Any]
"""The cells of one row by column name, with the types that the file format gives them."""


class Fault(NamedTuple):
    """Why a row, or one of its cells, cannot be used."""

    reason: IngestDrop
    detail: str


Rows: TypeAlias = Iterator[tuple[int, Row | Fault]]
"""Pairs of a line number and the row that starts there, or its fault. Numbers start at 1. In a JSON
array or a Parquet file, they count elements or rows instead of lines."""

_JSON_TYPES = {
    bool: "a truth value",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def json_type(value: object) -> str:
    """Return the JSON type of a value for a message, such as ``a list``."""
    return _JSON_TYPES.get(type(value), type(value).__name__)
