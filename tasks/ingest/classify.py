"""What becomes of each row of a file, whatever the others are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.ingest.cell_text import matchable
from tasks.ingest.columns import Layout
from tasks.ingest.rows import Fault, Row
from tasks.ingest.tally import Dropped
from tasks.ingest.to_record import Record, make_record
from tasks.lib.core.drops import IngestDrop


@dataclass(frozen=True)
class Kept:
    """A record, and the line of its row."""

    line: int
    record: Record


@dataclass(frozen=True)
class Rules:
    """What a row is judged by.

    Attributes:
        exclude: Column: values, as `matchable` gives them, of rows to leave out.
        max_chars: The length above which a text is a fault.
    """

    layout: Layout
    exclude: Mapping[str, frozenset[str]]
    max_chars: int


def results_of(rows: Sequence[tuple[int, Row | Fault]], rules: Rules) -> list[Kept | Dropped]:
    """One result for each row, in their order.

    Exclusion comes before every other check, so an excluded row is never a faulty one.
    """
    return [_result(line, row, rules) for line, row in rows]


def _result(line: int, row: Row | Fault, rules: Rules) -> Kept | Dropped:
    if isinstance(row, Fault):
        return Dropped(line, *row)
    for column, values in rules.exclude.items():
        value = matchable(row.get(column))
        if value in values:
            return Dropped(line, IngestDrop.EXCLUDED, f"{column} is {value}")
    record = make_record(row, rules.layout, rules.max_chars)
    return Dropped(line, *record) if isinstance(record, Fault) else Kept(line, record)
