"""Read a pool of instructions from a file, and drop what is no instruction."""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from tasks.ingest.cell_text import matchable
from tasks.ingest.classify import Kept, Rules, results_of
from tasks.ingest.columns import PLAIN, check_chosen, find_layout, listed
from tasks.ingest.encoding import escaped
from tasks.ingest.rows import Fault, Row
from tasks.ingest.source import check_source, read_rows
from tasks.ingest.tally import Dropped, Tally, refuse_poor
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.errors import ParamError, nearest
from tasks.lib.core.events import log
from tasks.lib.core.params import PARAMS_FILE, Params, load_section
from tasks.lib.core.schemas import INGEST_DROPPED, POOL
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import TableWriter
from tasks.lib.executor import Engine, load_engine

SHARD_ROWS = 4096
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


def check(values: Mapping[str, Any]) -> Ingest:
    """The section ingest, and that its source is a file of a known format.

    Raises:
        ParamError: A value is wrong, or the engine is not installed.
        DataError: The source is missing, empty or of no known format.
    """
    load_engine(values)
    params = load_section(values, "ingest", Ingest)
    check_chosen(params.columns)
    check_source(Path(params.source))
    return params


def ingest(
    rows: Iterable[tuple[int, Row | Fault]], params: Ingest, where: str, engine: Engine
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
    rules = Rules(layout, params.exclude, params.max_field_chars)
    unseen = set(params.exclude)
    lines: dict[str, int] = {}
    shards = _shards(chain(sample, rows), unseen)
    for result in chain.from_iterable(engine.map(partial(results_of, rules=rules), shards)):
        if isinstance(result, Kept):
            earlier = lines.setdefault(result.record.id, result.line)
            if earlier != result.line:
                detail = f"instruction and input of line {earlier}"
                yield Dropped(result.line, IngestDrop.REPEATED, detail)
                continue
        yield result
    if first and unseen:
        _refuse_unseen(min(unseen), list(dict.fromkeys(name for row in first for name in row)))


def _shards(
    rows: Iterator[tuple[int, Row | Fault]], unseen: set[str]
) -> Iterator[list[tuple[int, Row | Fault]]]:
    """The rows in lists; the columns that any of them has are taken out of `unseen`."""
    while shard := list(islice(rows, SHARD_ROWS)):
        if unseen:
            unseen.difference_update(*(row for _, row in shard if not isinstance(row, Fault)))
        yield shard


def work(stage: Stage) -> None:
    """Write the pool and the dropped rows, and tell how many of each there are."""
    params, engine = check(stage.values), load_engine(stage.values)
    source = Path(params.source)
    tally = Tally()
    with (
        TableWriter(stage.out("ingest/pool.parquet"), POOL) as pool,
        TableWriter(stage.out("ingest/dropped.parquet"), INGEST_DROPPED) as dropped,
    ):
        for result in ingest(read_rows(source), params, params.source, engine):
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
