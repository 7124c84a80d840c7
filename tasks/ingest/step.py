"""Read a pool of instructions from a file, and drop the rows that are not instructions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.ingest.classify import Ingest, KeptRow, classify_rows
from tasks.ingest.columns import check_chosen_columns
from tasks.ingest.exclusions import Exclusions, find_exclusions
from tasks.ingest.named_files import NOTHING, load_named_files, read_named_file
from tasks.ingest.source import check_source, read_rows
from tasks.ingest.tally import Tally, check_drop_rate
from tasks.lib.core.errors import DataError
from tasks.lib.core.events import log
from tasks.lib.core.params import PARAMS_FILE, load_section
from tasks.lib.core.schemas import INGEST_DROPPED, POOL
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import TableWriter


def check(values: Mapping[str, Any]) -> Ingest:
    """Return the section ingest, after checking that its files are of a known format.

    Raises:
        ParamError: A value is wrong.
        DataError: The source is missing or empty, or a file is of an unknown format.
    """
    params = load_section(values, "ingest", Ingest)
    check_chosen_columns(params.columns)
    check_source(Path(params.source))
    load_named_files(values, params)
    _check_exclude_file(Path(params.exclude_file))
    return params


def work(stage: Stage) -> None:
    """Write the pool, the dropped rows and the records of named files; log the numbers."""
    params = check(stage.values)
    source = Path(params.source)
    tally, exclusions = Tally(), _read_exclusions(params)
    with (
        TableWriter(stage.out("ingest/pool.parquet"), POOL) as pool,
        TableWriter(stage.out("ingest/dropped.parquet"), INGEST_DROPPED) as dropped,
    ):
        for result in classify_rows(read_rows(source), params, params.source, exclusions):
            if isinstance(result, KeptRow):
                tally.kept += 1
                pool.append({**result.record._asdict(), "source": f"{source.name}:{result.line}"})
            else:
                tally.drop(result)
                dropped.append(result.for_table())
        check_drop_rate(tally, params.max_dropped, params.source)
        pool.add_metadata({"n_rows": str(tally.n_rows), "file": source.name})
    for file in load_named_files(stage.values, params):
        with TableWriter(stage.out(file.tail), POOL) as table:
            for row in read_named_file(file, params):
                table.append(row)
    log.info("ingest: %s", tally)


def _check_exclude_file(path: Path) -> None:
    try:
        if not _is_empty(path):
            check_source(path)
    except DataError as error:
        fix = f"Set ingest.exclude_file in {PARAMS_FILE}; {NOTHING} leaves no row out."
        raise DataError(error.what, where=error.where, fix=fix) from None


def _read_exclusions(params: Ingest) -> Exclusions:
    path = Path(params.exclude_file)
    rows = iter(()) if _is_empty(path) else read_rows(path)
    return find_exclusions(rows, params.max_field_chars)


def _is_empty(path: Path) -> bool:
    return path.is_file() and path.stat().st_size == 0
