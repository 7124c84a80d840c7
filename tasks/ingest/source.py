"""The source file: its format, its compression, and its rows.

To add a format, write a reader in a module of its own and enter its suffix in `READERS`; to add a
compression, enter it in `COMPRESSIONS`. No other code changes.
"""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa

from tasks.ingest.delimited import read_csv, read_tsv
from tasks.ingest.encoding import HEAD_BYTES
from tasks.ingest.json_array import read_json
from tasks.ingest.json_lines import read_json_lines
from tasks.ingest.parquet import read_parquet
from tasks.ingest.rows import Rows
from tasks.lib.core.errors import DataError, nearest

Reader: TypeAlias = Callable[[io.BufferedReader, str], Rows]
"""Function that yields the rows of an unpacked file; its second argument is the path, for errors.

A reader yields a `Fault` for a row that cannot be used. If the rest of the file cannot be used
either, it raises a DataError with the path and, for text, the line. It can look at the first
`HEAD_BYTES` with ``peek``; it must not seek.
"""

READERS: dict[str, Reader] = {
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".parquet": read_parquet,
}


class Compression(NamedTuple):
    """The name of a compression, how its files begin, and how to unpack them."""

    name: str
    magic: tuple[bytes, ...]
    unpack: Callable[[io.BufferedReader], Any]  # to a raw stream


COMPRESSIONS = {
    ".gz": Compression("gzip", (b"\x1f\x8b",), gzip.open),
    ".bz2": Compression("bzip2", (b"BZh",), bz2.open),
    ".xz": Compression("xz", (b"\xfd7zXZ\0",), lzma.open),
    # The files of pzstd begin with a skippable frame.
    ".zst": Compression(
        "zstd",
        (b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18"),
        lambda file: pa.CompressedInputStream(file, "zstd"),
    ),
}

SET_SOURCE = "Set ingest.source in params.yaml, or with -S ingest.source=FILE."


def check_source(path: Path) -> None:
    """Check that `path` can be a source, without reading it.

    Raises:
        DataError: The file is missing (the nearest name in its folder is offered), is a folder, is
            empty, or has no known format.
    """
    if not path.exists():
        raise _missing(path)
    if not path.is_file():
        raise DataError("expected a file, not a folder", where=str(path), fix=SET_SOURCE)
    _find_reader(path)
    if path.stat().st_size == 0:
        raise DataError("the file is empty", where=str(path), fix=SET_SOURCE)


def read_rows(path: Path) -> Rows:
    """Yield the rows of the file at `path` one by one, faulty ones as `Fault`.

    Raises:
        DataError: As `check_source`; or the file is damaged, in another encoding than UTF-8, or
            not what its name says.
    """
    check_source(path)
    line = 0
    with _open(path) as stream:
        try:
            for line, row in _find_reader(path)(stream, str(path)):
                yield line, row
        except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
            if getattr(error, "errno", None) is not None:  # the disk's error, not the unpacker's
                raise
            raise DataError(
                f"the compressed file is damaged or cut off after line {line} ({error})",
                where=str(path),
                fix="Fetch or compress it again.",
            ) from None


def _find_reader(path: Path) -> Reader:
    name = Path(path.name.lower())
    suffix = Path(name.stem).suffix if name.suffix in COMPRESSIONS else name.suffix
    if suffix not in READERS:
        raise DataError(
            f"{suffix or 'no suffix'!r} is not a known format{nearest(suffix, READERS)}",
            where=str(path),
            fix=f"Known formats: {', '.join(READERS)}, each also compressed as "
            f"{', '.join(COMPRESSIONS)}. {SET_SOURCE}",
        )
    return READERS[suffix]


@contextmanager
def _open(path: Path) -> Iterator[io.BufferedReader]:
    """Open the file for reading, unpacked if it is compressed."""
    try:
        file: io.BufferedReader = io.BufferedReader(path.open("rb", buffering=0), HEAD_BYTES)
    except PermissionError:
        raise DataError(
            "reading the file is not permitted", where=str(path), fix=SET_SOURCE
        ) from None
    with file:
        suffix = path.suffix.lower()
        _check_magic(file.peek(), suffix, str(path))
        if suffix not in COMPRESSIONS:
            yield file
            return
        with io.BufferedReader(COMPRESSIONS[suffix].unpack(file), HEAD_BYTES) as unpacked:
            yield unpacked


def _check_magic(head: bytes, suffix: str, where: str) -> None:
    """Raise a DataError unless a file's content and its name agree on its compression."""
    actual = next((s for s, known in COMPRESSIONS.items() if head.startswith(known.magic)), "")
    if actual == (suffix if suffix in COMPRESSIONS else ""):
        return
    content = COMPRESSIONS[actual].name if actual else f"not {COMPRESSIONS[suffix].name}"
    raise DataError(
        f"the content is {content}, but the name ends with {suffix}",
        where=where,
        fix=f"Rename the file to end with {actual}."
        if actual
        else f"Remove {suffix} from the name.",
    )


def _missing(path: Path) -> DataError:
    if path.with_name(path.name + ".dvc").exists():
        return DataError(
            "the file is tracked by DVC but not here", where=str(path), fix="Run `dvc pull`."
        )
    if not path.parent.is_dir():
        return DataError(f"there is no folder {path.parent}", where=str(path), fix=SET_SOURCE)
    siblings = sorted(p.name for p in path.parent.iterdir() if p.is_file())
    return DataError(
        f"there is no such file{nearest(path.name, siblings)}", where=str(path), fix=SET_SOURCE
    )
