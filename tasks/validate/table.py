"""The tables that expectations check, and their columns."""

from typing import NamedTuple, cast

import pandas as pd
import pyarrow as pa


class Table(NamedTuple):
    """One row for each thing that can be wrong, and the columns that name it in a message.

    A row has the claimed and the counted values, so that a finding can show them.
    """

    frame: pd.DataFrame
    key: list[str]


def texts(rows: pa.Table, column: str) -> list[str]:
    """Return the texts of a column, empty for a null, which another expectation forbids."""
    return [cast(str, text) or "" for text in rows[column].to_pylist()]


def fields(records: pa.Table) -> list[tuple[str, str]]:
    """Return the instruction and input of each record."""
    return list(zip(texts(records, "instruction"), texts(records, "input"), strict=True))


def n_distinct(rows: pa.Table, column: str) -> int:
    """Count the distinct values of a column."""
    return len(rows[column].unique())
