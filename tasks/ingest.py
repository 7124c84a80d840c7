"""Read a pool of instructions from a file, and drop what is no instruction."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from tasks.core.errors import ParamError, nearest
from tasks.core.events import log
from tasks.core.params import PARAMS_FILE, Params, load_section
from tasks.core.schemas import INGEST_DROPPED, POOL
from tasks.core.stage import Stage, run_step
from tasks.core.tables import TableWriter
from tasks.formats.cells import matchable
from tasks.formats.encoding import escaped
from tasks.formats.layouts import PLAIN, Layout, check_chosen, find_layout, listed
from tasks.formats.mapping import Record, make_record
from tasks.formats.rows import Drop, Fault, Row
from tasks.formats.source import check_source, read_rows
from tasks.formats.tally import Dropped, Tally, refuse_poor

SAMPLE_ROWS = 1000  # optional columns may be absent from the first rows of JSON lines


def _matchables(value: object) -> frozenset[str]:
    wanted = [matchable(item) for item in (value if isinstance(value, list) else [value])]
    if None in wanted:
        raise PydanticCustomError(
            "exclude", "expected text, a number, true or false, or a list of them"
        )
    return frozenset(text for text in wanted if text is not None)


class Ingest(Params):
    """What to read, and when to refuse it."""

    source: str = Field(min_length=1)
    columns: dict[str, str]
    exclude: dict[str, Annotated[frozenset[str], BeforeValidator(_matchables)]]
    max_field_chars: int = Field(ge=1)
    max_dropped: float = Field(ge=0, le=1)


@dataclass(frozen=True)
class Kept:
    """A record, and the line of its row."""

    line: int
    record: Record


def check(values: Mapping[str, Any]) -> Ingest:
    """The section ingest, and that its source is a file of a known format.

    Raises:
        ParamError: A value is wrong.
        DataError: The source is missing, empty or of no known format.
    """
    params = load_section(values, "ingest", Ingest)
    check_chosen(params.columns)
    check_source(Path(params.source))
    return params


def ingest(
    rows: Iterable[tuple[int, Row | Fault]], params: Ingest, where: str
) -> Iterator[Kept | Dropped]:
    """One result for each row, in their order: a record with an id of its own, or why not.

    Of the rows with the same instruction and input, the first is kept. Exclusion comes before
    every other check, so an excluded row is never a faulty one.

    Raises:
        ParamError: A column of ``ingest.columns`` is in none of the first rows, or one of
            ``ingest.exclude`` in none at all.
        DataError: No column is known to hold instructions.
    """
    rows = iter(rows)
    sample = list(islice(rows, SAMPLE_ROWS))
    first = [row for _, row in sample if not isinstance(row, Fault)]
    layout = find_layout(first, params.columns, where) if first else PLAIN
    unseen = set(params.exclude)
    lines: dict[str, int] = {}
    for line, row in chain(sample, rows):
        if not isinstance(row, Fault):
            unseen -= row.keys()
        result = _result(line, row, layout, params)
        if isinstance(result, Kept):
            earlier = lines.setdefault(result.record.id, line)
            if earlier != line:
                result = Dropped(line, Drop.REPEATED, f"instruction and input of line {earlier}")
        yield result
    if first and unseen:
        _refuse_unseen(min(unseen), list(dict.fromkeys(name for row in first for name in row)))


def _result(line: int, row: Row | Fault, layout: Layout, params: Ingest) -> Kept | Dropped:
    """What becomes of one row, whatever the others are."""
    if isinstance(row, Fault):
        return Dropped(line, *row)
    for column, values in params.exclude.items():
        value = matchable(row.get(column))
        if value in values:
            return Dropped(line, Drop.EXCLUDED, f"{column} is {value}")
    record = make_record(row, layout, params.max_field_chars)
    return Dropped(line, *record) if isinstance(record, Fault) else Kept(line, record)


def work(stage: Stage) -> None:
    """Write the pool and the dropped rows, and tell how many of each there are."""
    params = check(stage.values)
    source = Path(params.source)
    tally = Tally()
    with (
        TableWriter(stage.out("ingest/pool.parquet"), POOL) as pool,
        TableWriter(stage.out("ingest/dropped.parquet"), INGEST_DROPPED) as dropped,
    ):
        for result in ingest(read_rows(source), params, params.source):
            if isinstance(result, Kept):
                tally.kept += 1
                place = f"{source.name}:{result.line}"
                pool.append({**result.record._asdict(), "source": place})
            else:
                tally.drop(result)
                dropped.append(vars(result))
        refuse_poor(tally, params.max_dropped, params.source)
        pool.add_metadata({"n_rows": str(tally.rows), "file": source.name})
    log.info("ingest: %s", tally)


def _refuse_unseen(column: str, known: list[str]) -> None:
    raise ParamError(
        f"ingest.exclude: no row has a column {column}{nearest(column, map(escaped, known))}",
        where=PARAMS_FILE,
        fix=f"The columns: {listed(known)}.",
    )


if __name__ == "__main__":
    run_step("ingest", work)
