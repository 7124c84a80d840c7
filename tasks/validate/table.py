"""Define the tables that expectations check, and read their columns."""

from itertools import starmap
from typing import NamedTuple, cast

import pandas as pd
import pyarrow as pa

from tasks.lib.core.records import TEXT_COLUMNS, RecordTexts


class Table(NamedTuple):
    """The rows that expectations check, and the columns that identify a row in a message.

    A row contains both claimed and counted values, so that a finding can show both.
    """

    frame: pd.DataFrame
    key: list[str]


def texts(rows: pa.Table, column: str) -> list[str]:
    """Return the texts of a column, with "" for nulls, which another expectation forbids."""
    return [cast(str, text) or "" for text in rows[column].to_pylist()]


def record_texts(records: pa.Table) -> list[RecordTexts]:
    """Return the texts of each record, with "" for nulls."""
    columns = (texts(records, name) for name in TEXT_COLUMNS)
    return list(starmap(RecordTexts, zip(*columns, strict=True)))


def n_distinct(rows: pa.Table, column: str) -> int:
    """Count the distinct values of a column."""
    return len(rows[column].unique())
