"""What a reader yields for each row of a file, and why a row may be left out of the pool."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

Row: TypeAlias = Mapping[str, Any]
"""The cells of one row by column name, as the file's format gives them."""


class Drop(StrEnum):
    """Why a row is not in the pool. All but the first two are faults of the row."""

    EXCLUDED = "excluded"  # by ingest.exclude
    REPEATED = "repeated"  # the id of an earlier row
    NOT_JSON = "not_json"
    NOT_OBJECT = "not_object"
    BAD_ENCODING = "bad_encoding"
    WRONG_CELLS = "wrong_cells"
    MISSING_INSTRUCTION = "missing_instruction"  # absent, null or NaN
    BLANK_INSTRUCTION = "blank_instruction"
    NOT_TEXT = "not_text"
    NUL = "nul"
    LONE_SURROGATE = "lone_surrogate"
    TOO_LONG = "too_long"

    @property
    def is_fault(self) -> bool:
        """Whether it counts against ``ingest.max_dropped``."""
        return self not in {Drop.EXCLUDED, Drop.REPEATED}


class Fault(NamedTuple):
    """A row, or a cell of it, that cannot be used."""

    reason: Drop
    detail: str


Rows: TypeAlias = Iterator[tuple[int, Row | Fault]]
"""Each row, or what is wrong with it, after its line: the 1-based physical line on which it
starts, or its 1-based number in a JSON array or a Parquet file."""
