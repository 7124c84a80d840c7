"""The tables that expectations check, and helpers to make them."""

from typing import NamedTuple, cast

import pandas as pd
import pyarrow as pa

from tasks.lib.core.records import record_id


class Table(NamedTuple):
    """One row for each thing that can be wrong, and the columns that name it in a message.

    A row holds what is claimed and what was counted, so that a failed expectation can name it.
    """

    frame: pd.DataFrame
    key: list[str]


def texts(rows: pa.Table, column: str) -> list[str]:
    """Return the texts of a column; a null, which another expectation forbids, is empty."""
    return [cast(str, text) or "" for text in rows[column].to_pylist()]


def fields(records: pa.Table) -> list[tuple[str, str]]:
    """Return the instruction and input of each record."""
    return list(zip(texts(records, "instruction"), texts(records, "input"), strict=True))


def record_ids(records: pa.Table) -> list[str]:
    """Compute the id of each record from its text."""
    return [record_id(*pair) for pair in fields(records)]


def n_distinct(rows: pa.Table, column: str) -> int:
    """Count the different values of a column."""
    return len(rows[column].unique())
