"""Which rows become records, and why the others are dropped."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from tasks.ingest.cell_text import comparison_key
from tasks.ingest.columns import SAME_NAMES, ColumnMapping, list_names, map_columns
from tasks.ingest.encoding import escape_surrogates
from tasks.ingest.rows import Fault, Row
from tasks.ingest.to_record import PoolRecord, to_record
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.errors import ParamError, nearest
from tasks.lib.core.params import PARAMS_FILE, Params

SAMPLE_ROWS = 1000  # optional columns may be absent from the first rows of JSON lines


def _comparison_keys(value: object) -> frozenset[str]:
    keys = [comparison_key(item) for item in (value if isinstance(value, list) else [value])]
    if None in keys:
        raise PydanticCustomError(
            "exclude", "expected text, a number, true or false, or a list of them"
        )
    return frozenset(key for key in keys if key is not None)


class Ingest(Params):
    """The section ingest of params.yaml: what to read, and which rows to drop."""

    source: str = Field(min_length=1)
    columns: dict[str, str]
    exclude: dict[str, Annotated[frozenset[str], BeforeValidator(_comparison_keys)]]
    decontaminate: str = Field(min_length=1)
    max_field_chars: int = Field(ge=1)
    max_dropped: float = Field(ge=0, le=1)


class KeptRow(NamedTuple):
    """A record and the line of its row."""

    line: int
    record: PoolRecord


class DroppedRow(NamedTuple):
    """A row that cannot be a record, repeats an earlier one, or is excluded."""

    line: int
    reason: IngestDrop
    detail: str


def classify_rows(
    rows: Iterable[tuple[int, Row | Fault]], params: Ingest, where: str
) -> Iterator[KeptRow | DroppedRow]:
    """Yield one result per row, in order: a record with a unique id, or the reason for the drop.

    Of the rows with the same instruction and input, the first is kept. Exclusion comes before
    every other check, so an excluded row does not count as faulty.

    Raises:
        ParamError: None of the first rows has a chosen column, or no row has a column of
            ``ingest.exclude``.
        DataError: No column is known to hold instructions.
    """
    rows = iter(rows)
    sample = list(islice(rows, SAMPLE_ROWS))
    first = [row for _, row in sample if not isinstance(row, Fault)]
    mapping = map_columns(first, params.columns, where) if first else SAME_NAMES
    missing = set(params.exclude)
    lines: dict[str, int] = {}  # id -> line
    for line, row in chain(sample, rows):
        if missing and not isinstance(row, Fault):
            missing.difference_update(row)
        result = _classify(line, row, mapping, params)
        if isinstance(result, KeptRow):
            earlier = lines.setdefault(result.record.id, line)
            if earlier != line:
                detail = f"instruction and input of line {earlier}"
                result = DroppedRow(line, IngestDrop.REPEATED, detail)
        yield result
    if first and missing:
        _refuse_missing(min(missing), list(dict.fromkeys(name for row in first for name in row)))


def _classify(
    line: int, row: Row | Fault, mapping: ColumnMapping, params: Ingest
) -> KeptRow | DroppedRow:
    if isinstance(row, Fault):
        return DroppedRow(line, *row)
    for column, excluded in params.exclude.items():
        key = comparison_key(row.get(column))
        if key in excluded:
            return DroppedRow(line, IngestDrop.EXCLUDED, f"{column} is {key}")
    record = to_record(row, mapping, params.max_field_chars)
    return DroppedRow(line, *record) if isinstance(record, Fault) else KeptRow(line, record)


def _refuse_missing(column: str, names: list[str]) -> None:
    raise ParamError(
        f"ingest.exclude: no row has a column {column}"
        f"{nearest(column, map(escape_surrogates, names))}",
        where=PARAMS_FILE,
        fix=f"The columns: {list_names(names)}.",
    )
