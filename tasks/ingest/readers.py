"""Read one file of the source, in any known format and compression.

To add a format, write a reader in a new module, and add its suffix to `READERS` and to `FORMATS` in
tasks/lib/data_file_names.py.
"""

import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeAlias

from tasks.ingest.delimited import read_csv, read_tsv
from tasks.ingest.encoding import is_utf8
from tasks.ingest.json_text import is_json, read_json
from tasks.ingest.parquet import read_parquet
from tasks.ingest.rows import Rows
from tasks.ingest.text_lines import read_text
from tasks.ingest.unpack import open_file
from tasks.ingest.unpack_limit import ROW_BYTES, ReadBound
from tasks.lib.core.errors import CurationError, DataError
from tasks.lib.core.inputs import Version, changed
from tasks.lib.data_file_names import check_format, data_suffix

SET_SOURCE = "Set ingest.source in params.yaml, or with -S ingest.source=FILE."
CONVERT = {
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "In the spreadsheet, save it as CSV in UTF-8. "),
    **dict.fromkeys((".yaml", ".yml"), "Convert it with `yq -o json OLD > NEW.json`. "),
    **dict.fromkeys(
        (".arrow", ".feather", ".pkl", ".pickle", ".xml", ".h5"),
        "Read it with pandas or datasets, and write it with to_parquet. ",
    ),
}
TABLES_AND_TEXTS = (".csv", ".tsv", ".txt")
OUR_CODE = str(Path(__file__).parents[1]) + os.sep
# Errors that a bug in our own code would raise, but a damaged file would not.
BUGS = (TypeError, AttributeError, NameError, LookupError, AssertionError)


class ReadOptions(NamedTuple):
    """How to read the files of a source: the values of ``ingest.table``, and the size limits."""

    table: Mapping[str, str]
    bound: ReadBound


Reader: TypeAlias = Callable[[io.BufferedReader, str, ReadOptions], Rows]
"""A function that yields the rows of an unpacked file; its second argument is the path, for errors.

A reader yields a `Fault` for a row that cannot be used. If the rest of the file cannot be used
either, it raises a DataError with the path and, for text, the line. It can look at the first
`HEAD_BYTES` with ``peek``; it must not seek.
"""

READERS: dict[str, Reader] = {
    ".jsonl": lambda stream, where, options: read_json(stream, where, options.bound, is_lines=True),
    ".ndjson": lambda stream, where, options: read_json(
        stream, where, options.bound, is_lines=True
    ),
    ".json": lambda stream, where, options: read_json(stream, where, options.bound, is_lines=False),
    ".csv": lambda stream, where, options: read_csv(
        stream, where, options.table, options.bound.limits
    ),
    ".tsv": lambda stream, where, options: read_tsv(
        stream, where, options.table, options.bound.limits
    ),
    ".txt": lambda stream, where, options: read_text(stream, where, options.bound.limits),
    ".parquet": lambda stream, where, options: read_parquet(stream, where, options.bound),
}


def check_file(path: Path, member: str, name: str) -> None:
    """Check that a file can be read, without reading it.

    Raises:
        DataError: The file is empty, or its format is unknown.
    """
    where = str(path / member) if member else str(path)
    _find_reader(member or name, where)
    if path.stat().st_size == 0:
        raise DataError("the file is empty", where=where, fix=SET_SOURCE)


def read_rows(path: Path, member: str, name: str, options: ReadOptions) -> Rows:
    """Yield the rows of a file or of a member of a ZIP archive, with a `Fault` for a faulty row.

    Raises:
        DataError: The file is empty, damaged or not UTF-8, its format is unknown or does not match
            its name, a limit is exceeded, or it changes while it is read.
    """
    check_file(path, member, name)
    where = str(path / member) if member else str(path)
    line = 0
    before = Version.of(path)
    with (
        _library_errors(where, lambda: line),
        open_file(path, member, member or name, options.bound, where) as stream,
    ):
        _check_content(stream.peek(), data_suffix(member or name), where)
        for line, row in _find_reader(member or name, where)(stream, where, options):
            options.bound.add(ROW_BYTES, where)
            yield line, row
    if Version.of(path) != before:
        raise changed(path)


def _check_content(head: bytes, suffix: str, where: str) -> None:
    """Raise a DataError if a file is a Git LFS pointer, a web page, or JSON under another name."""
    start = head[:200].lstrip().lower()
    first_line = head.lstrip().partition(b"\n")[0].decode("utf-8", "surrogateescape")
    if start.startswith(b"version https://git-lfs"):
        what, fix = "this is a Git LFS pointer, not the file itself", "Run `git lfs pull`."
    elif start.startswith((b"<!doctype html", b"<html")):
        what, fix = "this is a web page", "Download the file itself, not the page that shows it."
    elif (
        suffix in TABLES_AND_TEXTS
        and first_line.startswith("{")
        and is_utf8(first_line)
        and is_json(first_line)
    ):
        what = f"the content is JSON, but the name ends with {suffix}"
        fix = "Rename the file to end with .jsonl."
    else:
        return
    raise DataError(what, where=where, fix=fix)


@contextmanager
def _library_errors(where: str, line: Callable[[], int]) -> Iterator[None]:
    """Turn any decoder's error into a DataError that gives the last good line.

    An error from a bug in our own code is raised unchanged.
    """
    try:
        yield
    except CurationError:
        raise
    except Exception as error:
        is_disk = isinstance(error, OSError) and error.errno is not None
        if is_disk or (isinstance(error, BUGS) and _is_raised_by_us(error)):
            raise
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise DataError(
            f"the file is damaged or cut off after line {line()} ({what})",
            where=where,
            fix="Fetch, convert or compress it again, or set ingest.source to another file.",
        ) from error


def _is_raised_by_us(error: Exception) -> bool:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_filename.startswith(OUR_CODE)


def _find_reader(name: str, where: str) -> Reader:
    suffix = data_suffix(name)
    check_format(name, where, CONVERT.get(suffix, "") + SET_SOURCE)
    return READERS[suffix]
