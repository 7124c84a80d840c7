"""Read a pool of instructions from its files, and drop the rows that are not instructions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.ingest.classify_rows import Ingest, KeptRow, classify_rows
from tasks.ingest.dialect import check_table_keys
from tasks.ingest.dvc_dataset import SCHEME, find_dataset, get_dataset
from tasks.ingest.exclusions import Exclusions, find_exclusions
from tasks.ingest.map_columns import check_chosen_columns
from tasks.ingest.readers import ReadOptions, check_file, read_rows
from tasks.ingest.reference_files import (
    NamedFile,
    check_named_file,
    load_named_files,
    read_named_file,
)
from tasks.ingest.rows import Rows
from tasks.ingest.same_layout import check_layouts
from tasks.ingest.source_files import SourceFiles, list_files
from tasks.ingest.tally import Tally, check_drop_rate
from tasks.ingest.unpack_limit import ReadBound
from tasks.lib.core.dvc_yaml import read_graph
from tasks.lib.core.errors import ParamError
from tasks.lib.core.events import log
from tasks.lib.core.params import PARAMS_FILE, load_section, lookup
from tasks.lib.core.schemas import INGEST_DROPPED, POOL
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import TableWriter


def check(values: Mapping[str, Any]) -> Ingest:
    """Return the ingest section, after checking that its files can be read.

    Raises:
        ParamError: A value is wrong.
        DataError: A file is missing, empty or of an unknown format.
    """
    params = _load(values)
    load_named_files(values, params)
    source = Path(params.source)
    if params.source.startswith(SCHEME):
        find_dataset(params.source)
    elif lookup(values, "fetch.source") is None:
        _check_no_outputs(source)
        for file in list_files(source, params.files).files:
            check_file(*file)
    return params  # the output of the fetch stage is checked when it is read


def work(stage: Stage) -> None:
    """Write the pool, the dropped rows and the records of named files, and log the row counts."""
    params = _load(stage.values)
    is_dataset = params.source.startswith(SCHEME)
    source = get_dataset(params.source, stage.state) if is_dataset else Path(params.source)
    files = list_files(source, params.files)
    options = ReadOptions(params.table, ReadBound(files.n_bytes, params.limits))
    check_layouts(files, params.columns, options, params.source)
    tally, exclusions = Tally(files.describe), _read_exclusions(params)
    with (
        TableWriter(stage.out("ingest/pool.parquet"), POOL) as pool,
        TableWriter(stage.out("ingest/dropped.parquet"), INGEST_DROPPED) as dropped,
    ):
        rows = _read(files, options)
        results = classify_rows(rows, params, params.source, files.describe, exclusions)
        for result in results:
            name, line = files.place(result.line)
            if isinstance(result, KeptRow):
                tally.kept += 1
                options.bound.add_record(result.record.n_chars, result.record.n_turns, name)
                pool.append({**result.record._asdict(), "source": f"{name}:{line}"})
            else:
                tally.drop(result)
                dropped.append({**result.for_table(), "file": name, "line": line})
        check_drop_rate(tally, params.max_dropped, params.source)
        n_files = len(files.files)
        pool.add_metadata({"n_rows": str(tally.n_rows), "file": source.name, "files": str(n_files)})
    for named in load_named_files(stage.values, params):
        with TableWriter(stage.out(named.tail), POOL) as table:
            for row in read_named_file(named, params):
                table.append(row)
    log.info("ingest: %s%s", tally, f", {n_files:,} files" if n_files > 1 else "")


def _load(values: Mapping[str, Any]) -> Ingest:
    params = load_section(values, "ingest", Ingest)
    check_chosen_columns(params.columns)
    check_table_keys(params.table)
    check_named_file(_exclude_file(params))
    is_remote = "://" in params.source and not params.source.startswith(SCHEME)
    if is_remote or params.source.startswith("sql:"):
        raise ParamError(
            "ingest.source is a URL or a query, but ingest reads only local files",
            where=PARAMS_FILE,
            fix="Set it with -S ingest.source=SOURCE; the fetch stage then copies it.",
        )
    return params


def _check_no_outputs(source: Path) -> None:
    """Raise a ParamError if the source contains a stage's output, which would depend on itself."""
    if not source.is_dir():
        return
    outs = [Path(out.path) for stage in read_graph(Path.cwd()).stages for out in stage.outs]
    made = next((out for out in outs if out.resolve().is_relative_to(source.resolve())), None)
    if made is not None:
        raise ParamError(
            f"ingest.source is the folder {source}, which contains {made}, the output of a stage",
            where=PARAMS_FILE,
            fix="Move the pool to a folder of its own, and set ingest.source to that folder.",
        )


def _read(files: SourceFiles, options: ReadOptions) -> Rows:
    """Yield the rows of all files, each with its number in the whole source."""
    for index, file in enumerate(files.files):
        for line, row in read_rows(*file, options):
            yield files.number(index, line), row


def _exclude_file(params: Ingest) -> NamedFile:
    return NamedFile("ingest.exclude_file", Path(params.exclude_file), "")


def _read_exclusions(params: Ingest) -> Exclusions:
    files = SourceFiles(_exclude_file(params).parts)
    options = ReadOptions({}, ReadBound(files.n_bytes, params.limits))
    return find_exclusions(_read(files, options), params.max_field_chars, params.limits)
