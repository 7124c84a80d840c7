"""What a reader yields for each row of a file, and why a row may be left out of the pool."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from tasks.lib.core.drops import IngestDrop

Row: TypeAlias = Mapping[str, Any]
"""The cells of one row by column name, as the file's format gives them."""


class Fault(NamedTuple):
    """A row, or a cell of it, that cannot be used."""

    reason: IngestDrop
    detail: str


Rows: TypeAlias = Iterator[tuple[int, Row | Fault]]
"""Each row, or what is wrong with it, after its line: the 1-based physical line on which it
starts, or its 1-based number in a JSON array or a Parquet file."""
