"""Read the other files that parameters name: annotated records, targets and held-out sets."""

from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ConfigDict, Field

from tasks.ingest.classify_rows import DroppedRow, Ingest, KeptRow, classify_rows
from tasks.ingest.readers import ReadOptions, check_file, read_rows
from tasks.ingest.source_files import SourceFile, SourceFiles, list_files
from tasks.ingest.unpack_limit import ReadBound
from tasks.lib.core.errors import DataError, ParamError
from tasks.lib.core.events import log
from tasks.lib.core.params import (
    NO_RECORDS,
    PARAMS_FILE,
    Params,
    has_no_records,
    load_section,
)

MIN_TARGETS = 4  # one half guides the selection, the other half evaluates it


class NamedFile(NamedTuple):
    """A file of records, or a folder of such files.

    Attributes:
        key: The parameter that names the file.
        path: The file or folder.
        tail: Where its records are written: the last parts of the output's path.
        min_records: The minimum number of records, unless the file is empty.
    """

    key: str
    path: Path
    tail: str
    min_records: int = 1

    @property
    def parts(self) -> tuple[SourceFile, ...]:
        """The files to read, in order; there are none if the file is empty.

        Raises:
            DataError: A file is missing, or its format is unknown.
        """
        if has_no_records(self.path):
            return ()
        return list_files(self.path, ["*"]).files


class _Choose(Params):
    model_config = ConfigDict(extra="ignore")

    annotated: str = Field(min_length=1)
    targets: str = Field(min_length=1)


def load_named_files(values: Mapping[str, Any], params: Ingest) -> list[NamedFile]:
    """Return the files that the ingest and choose sections name, after checking them.

    Raises:
        ParamError: A parameter is wrong.
        DataError: A file is missing, or its format is unknown.
    """
    choose = load_section(values, "choose", _Choose)
    files = [
        NamedFile("choose.annotated", Path(choose.annotated), "ingest/annotated.parquet"),
        NamedFile("choose.targets", Path(choose.targets), "ingest/targets.parquet", MIN_TARGETS),
        NamedFile("ingest.decontaminate", Path(params.decontaminate), "ingest/held_out.parquet"),
    ]
    for file in files:
        check_named_file(file)
    return files


def check_named_file(file: NamedFile) -> None:
    """Check that a file can be read, without reading it.

    Raises:
        DataError: A file is missing, or its format is unknown.
    """
    try:
        for part in file.parts:
            check_file(*part)
    except DataError as error:
        raise _explain(error, file.key) from None


def read_named_file(file: NamedFile, params: Ingest) -> Iterator[dict[str, Any]]:
    """Yield the distinct records of a file, as rows of a pool.

    The file may have its own layout: if it lacks the columns in ``ingest.columns``, columns with
    common names are used. ``ingest.exclude`` does not apply. Faulty rows are skipped, and a warning
    gives their number.

    Raises:
        DataError: The file cannot be read, has no column with instructions, or has too few records.
    """
    ids: set[str] = set()
    n_skipped = 0
    files = SourceFiles(file.parts)
    options = ReadOptions({}, ReadBound(files.n_bytes, params.limits))
    for part in files.files:
        for result in _classify(part, file.key, params, options):
            if not isinstance(result, KeptRow):
                n_skipped += result.reason.is_fault
            elif result.record.id not in ids:
                ids.add(result.record.id)
                record = result.record
                options.bound.add_record(record.n_chars, record.n_turns, str(part.path))
                yield {**record._asdict(), "source": f"{part.name}:{result.line}"}
    if files.files and len(ids) < file.min_records:
        what = f"found {len(ids)} distinct records, expected at least {file.min_records}"
        raise DataError(f"{file.key}: {what}", where=str(file.path), fix=_fix(file.key))
    if n_skipped:
        log.warning(
            "ingest: %s: skipped %s faulty rows in %s", file.key, f"{n_skipped:,}", file.path
        )


def _classify(
    part: SourceFile, key: str, params: Ingest, options: ReadOptions
) -> Iterator[KeptRow | DroppedRow]:
    own = params.model_copy(update={"exclude": {}})
    detected = own.model_copy(update={"columns": {}})

    def classify(params: Ingest) -> Iterator[KeptRow | DroppedRow]:
        rows = read_rows(*part, options)
        results = classify_rows(rows, params, part.name, "line {}".format)
        return chain(list(islice(results, 1)), results)  # the first raises if columns are missing

    try:
        try:
            results = classify(own)
        except ParamError:  # the file lacks the columns of the source
            results = classify(detected)
        yield from results
    except DataError as error:
        raise _explain(error, key) from None


def _explain(error: DataError, key: str) -> DataError:
    return DataError(f"{key}: {error.what}", where=error.where, fix=_fix(key))


def _fix(key: str) -> str:
    return f"Correct the file, or set {key} in {PARAMS_FILE} to the empty file {NO_RECORDS}."
