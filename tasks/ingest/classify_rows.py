"""Decide which rows become records, and why the others are dropped."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from tasks.ingest import join_messages
from tasks.ingest.cell_text import comparison_key
from tasks.ingest.conversation import Which
from tasks.ingest.encoding import escape_surrogates
from tasks.ingest.exclusions import Exclusions
from tasks.ingest.first_cells import names_of
from tasks.ingest.map_columns import (
    SAME_NAMES,
    SAMPLE_ROWS,
    ColumnMapping,
    list_names,
    map_columns,
)
from tasks.ingest.reshape_hints import check_one_row
from tasks.ingest.rows import Fault, Row, Rows
from tasks.ingest.to_record import PoolRecord, to_records
from tasks.ingest.unpack_limit import ReadLimits, take_sample
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.errors import ParamError, nearest
from tasks.lib.core.format_text import truncate
from tasks.lib.core.params import PARAMS_FILE, Params

NO_EXCLUSIONS = Exclusions()
MAX_DETAIL = 500  # characters in a dropped row's detail, which may list the row's values


def _comparison_keys(value: object) -> frozenset[str]:
    keys = [comparison_key(item) for item in (value if isinstance(value, list) else [value])]
    if None in keys:
        raise PydanticCustomError(
            "exclude", "expected text, a number, true or false, or a list of these"
        )
    return frozenset(key for key in keys if key is not None)


def _patterns(value: object) -> object:
    """Return one pattern or a list of patterns as a tuple."""
    return (
        (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value
    )


class Ingest(Params):
    """The ingest section of params.yaml: what to read, and which rows to drop."""

    source: str = Field(min_length=1)
    files: Annotated[tuple[str, ...] | None, BeforeValidator(_patterns)]
    table: dict[str, str]
    columns: dict[str, str]
    turn: Annotated[Which, Field(strict=False)]  # a string in YAML
    exclude: dict[str, Annotated[frozenset[str], BeforeValidator(_comparison_keys)]]
    exclude_file: str = Field(min_length=1)
    decontaminate: str = Field(min_length=1)
    max_field_chars: int = Field(ge=1)
    max_dropped: float = Field(ge=0, le=1)
    max_unpacked_mb: int = Field(ge=1)
    max_unpack_ratio: int = Field(ge=1)
    max_row_chars: int = Field(ge=1000)
    max_columns: int = Field(ge=1)

    @property
    def limits(self) -> ReadLimits:
        """The limits on what is read."""
        return ReadLimits(
            self.max_unpacked_mb, self.max_unpack_ratio, self.max_row_chars, self.max_columns
        )


class KeptRow(NamedTuple):
    """A record and its row number."""

    line: int
    record: PoolRecord


class DroppedRow(NamedTuple):
    """A row that is faulty or excluded, or that repeats an earlier row."""

    line: int
    reason: IngestDrop
    detail: str
    row: Row | None = None  # for messages; None if the row cannot be read

    def for_table(self) -> dict[str, Any]:
        """Return the row's values for the table of dropped rows."""
        return {"line": self.line, "reason": self.reason, "detail": self.detail}


def classify_rows(
    rows: Rows,
    params: Ingest,
    where: str,
    describe: Callable[[int], str],
    exclusions: Exclusions = NO_EXCLUSIONS,
) -> Iterator[KeptRow | DroppedRow]:
    """Yield the results of each row in order: records with unique ids, or a dropped row.

    A row with several records has several results. If records have the same texts, only the first
    is kept. Exclusion comes before every other check, so an excluded row never counts as faulty.
    `describe` returns the location of a row, given its number.

    Raises:
        ParamError: A chosen column is missing from the first rows, or a column of
            ``ingest.exclude`` is missing from all rows.
        DataError: No column with instructions is found.
    """
    rows, mapping, names = _prepare(iter(rows), params, where)
    missing = set(params.exclude)
    lines: dict[str, int] = {}  # id -> line
    for line, row in rows:
        if missing and not isinstance(row, Fault):
            missing.difference_update(row)
        for result in _classify(line, row, mapping, params, exclusions):
            if isinstance(result, DroppedRow):
                yield result
            elif result.record.id in exclusions.record_ids:
                yield DroppedRow(line, IngestDrop.EXCLUDED, f"it is in {params.exclude_file}")
            elif (earlier := lines.get(result.record.id)) is not None:
                yield DroppedRow(line, IngestDrop.REPEATED, f"the same as {describe(earlier)}")
            else:
                lines[result.record.id] = line
                yield result
    if names and missing:
        _refuse_missing(min(missing), names)


class Prepared(NamedTuple):
    """The rows of a file, how to read them, and the columns of the first rows."""

    rows: Rows
    mapping: ColumnMapping
    names: list[str]


def _prepare(rows: Rows, params: Ingest, where: str) -> Prepared:
    """Determine how to read the rows; the result still yields all of them."""
    sample, first = take_sample(rows, SAMPLE_ROWS, params.limits)
    if len(sample) == len(first) == 1:
        check_one_row(first[0], where)
    names = names_of(first)
    return Prepared(*_join(chain(sample, rows), first, params, where), names)


def _join(
    rows: Rows, first: Sequence[Row], params: Ingest, where: str
) -> tuple[Rows, ColumnMapping]:
    """Return the rows and their mapping; join rows that are single messages into conversations.

    Args:
        rows: All rows of the file.
        first: The first rows, excluding faulty ones.
        params: The ingest section.
        where: The file, for errors.
    """
    if not params.columns and any(map(join_messages.is_tree, first)):
        return join_messages.from_trees(rows), join_messages.MAPPING
    links = None if params.columns else join_messages.find_links(first, params.exclude, where)
    if links:
        return join_messages.from_messages(rows, links), join_messages.MAPPING
    exchanges = None if params.columns else join_messages.find_exchanges(first)
    if exchanges:
        return join_messages.from_exchanges(rows, exchanges), join_messages.MAPPING
    return rows, map_columns(first, params.columns, where) if first else SAME_NAMES


def _classify(
    line: int, row: Row | Fault, mapping: ColumnMapping, params: Ingest, exclusions: Exclusions
) -> Iterator[KeptRow | DroppedRow]:
    if isinstance(row, Fault):
        yield DroppedRow(line, *row)
        return
    for column, excluded in params.exclude.items():
        key = comparison_key(row.get(column))
        if key in excluded:
            yield DroppedRow(line, IngestDrop.EXCLUDED, f"{column} is {key}")
            return
    if exclusions.has_row(row):
        yield DroppedRow(line, IngestDrop.EXCLUDED, f"its id is in {params.exclude_file}")
        return
    for record in to_records(row, mapping, params.max_field_chars, params.turn):
        if isinstance(record, Fault):
            detail = truncate(record.detail, MAX_DETAIL)
            yield DroppedRow(line, record.reason, detail, row)
        elif record.n_chars > params.max_row_chars:
            yield DroppedRow(line, *params.limits.too_long_row)
        else:
            yield KeptRow(line, record)


def _refuse_missing(column: str, names: list[str]) -> None:
    raise ParamError(
        f"ingest.exclude: no row has the column {column}"
        f"{nearest(column, map(escape_surrogates, names))}",
        where=PARAMS_FILE,
        fix=f"Choose from the columns of the source: {list_names(names)}.",
    )
