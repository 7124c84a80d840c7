"""A file of rows: which format it has, and its rows."""

import gzip
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

from tasks.ingest.delimited import read_csv, read_tsv
from tasks.ingest.json_array import read_json
from tasks.ingest.json_lines import read_json_lines
from tasks.ingest.parquet import read_parquet
from tasks.ingest.rows import Rows
from tasks.lib.core.errors import DataError, nearest

Reader: TypeAlias = Callable[[BinaryIO, str], Rows]

READERS: dict[str, Reader] = {
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".parquet": read_parquet,
}
GZIP = ".gz"
GZIP_MAGIC = b"\x1f\x8b"
SET_SOURCE = "Set ingest.source in params.yaml, or with -S ingest.source=FILE."


def check_source(path: Path) -> None:
    """Find, without reading it, whether `path` can be a source.

    Raises:
        DataError: It is missing (the nearest name beside it is offered), is no file, is empty, or
            is of no known format.
    """
    if not path.exists():
        raise _missing(path)
    if not path.is_file():
        raise DataError("expected a file, not a folder", where=str(path), fix=SET_SOURCE)
    _reader(path)
    if path.stat().st_size == 0:
        raise DataError("the file is empty", where=str(path), fix=SET_SOURCE)


def read_rows(path: Path) -> Rows:
    """The rows of the file at `path` as they are read, faulty ones as `Fault`.

    Raises:
        DataError: As `check_source`; or the file is damaged, not UTF-8 throughout, or not what
            its name says.
    """
    check_source(path)
    line = 0
    with ExitStack() as open_files:
        try:
            stream = open_files.enter_context(_opened(path))
            for line, row in _reader(path)(stream, str(path)):
                yield line, row
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(
                f"the compressed file is damaged or cut off after line {line} ({error})",
                where=str(path),
                fix="Fetch or compress it again.",
            ) from None


def _reader(path: Path) -> Reader:
    suffix = Path(path.name.lower().removesuffix(GZIP)).suffix
    if suffix not in READERS:
        raise DataError(
            f"{suffix or 'no suffix'!r} is no known format{nearest(suffix, READERS)}",
            where=str(path),
            fix=f"Known are {', '.join(READERS)}, each also with {GZIP}. {SET_SOURCE}",
        )
    return READERS[suffix]


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The content of the file, decompressed."""
    try:
        file = path.open("rb")
    except PermissionError:
        raise DataError("not allowed to read it", where=str(path), fix=SET_SOURCE) from None
    with file:
        is_gzip = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        if is_gzip != path.name.lower().endswith(GZIP):
            raise DataError(
                f"the content is {'' if is_gzip else 'not '}gzip, and the name says otherwise",
                where=str(path),
                fix=f"{'Add' if is_gzip else 'Remove'} the suffix {GZIP}.",
            )
        file.seek(0)
        if not is_gzip:
            yield file
        elif _reader(path) is read_parquet:
            with tempfile.TemporaryFile() as plain, gzip.open(file) as packed:
                shutil.copyfileobj(packed, plain)  # Parquet is read from its end
                yield plain
        else:
            with gzip.open(file) as packed:
                yield cast(BinaryIO, packed)


def _missing(path: Path) -> DataError:
    if path.with_name(path.name + ".dvc").exists():
        return DataError(
            "the file is tracked by DVC and not here", where=str(path), fix="Run `dvc pull`."
        )
    if not path.parent.is_dir():
        return DataError(f"there is no folder {path.parent}", where=str(path), fix=SET_SOURCE)
    siblings = sorted(p.name for p in path.parent.iterdir() if p.is_file())
    return DataError(
        f"there is no such file{nearest(path.name, siblings)}", where=str(path), fix=SET_SOURCE
    )
