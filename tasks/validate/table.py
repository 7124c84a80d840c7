"""What an expectation looks at, and what such tables are made of."""

from typing import NamedTuple, cast

import pandas as pd
import pyarrow as pa

from tasks.lib.core.records import record_id


class Table(NamedTuple):
    """One row for each thing that can be wrong, and the columns that name it in a message.

    Claims stand beside what is true of them, so that a failed expectation can name the row.
    """

    frame: pd.DataFrame
    key: list[str]


def texts(rows: pa.Table, column: str) -> list[str]:
    """The texts of a column; a null, which breaks an expectation of its own, is empty."""
    return [cast(str, text) or "" for text in rows[column].to_pylist()]


def fields(records: pa.Table) -> list[tuple[str, str]]:
    """Instruction and input of each record."""
    return list(zip(texts(records, "instruction"), texts(records, "input"), strict=True))


def record_ids(records: pa.Table) -> list[str]:
    """The id that the text of each record gives."""
    return [record_id(*pair) for pair in fields(records)]


def n_distinct(rows: pa.Table, column: str) -> int:
    """How many values a column has."""
    return len(rows[column].unique())
