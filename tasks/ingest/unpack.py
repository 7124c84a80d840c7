"""Open compressed files; check that name and content agree, and count the unpacked bytes."""

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from tasks.ingest.encoding import HEAD_BYTES
from tasks.ingest.unpack_limit import LINE_BYTES, VALUE_BYTES, ReadBound
from tasks.lib.core.errors import DataError
from tasks.lib.data_file_names import ZIP


class Compression(NamedTuple):
    """A compression format: its name, the first bytes of its files, and how to unpack them."""

    name: str
    magic: tuple[bytes, ...]
    unpack: Callable[[io.BufferedReader], Any]  # to a raw stream


COMPRESSIONS = {
    ".gz": Compression("gzip", (b"\x1f\x8b",), gzip.open),
    ".bz2": Compression("bzip2", (b"BZh",), bz2.open),
    ".xz": Compression("xz", (b"\xfd7zXZ\0",), lzma.open),
    # Files from pzstd begin with a skippable frame.
    ".zst": Compression(
        "zstd",
        (b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18"),
        lambda file: pa.CompressedInputStream(file, "zstd"),
    ),
}
ZIP_MAGIC = b"PK\x03\x04"


@contextmanager
def open_file(
    path: Path, member: str, name: str, bound: ReadBound, where: str
) -> Iterator[io.BufferedReader]:
    """Open a file or a member of a ZIP archive; unpack it according to the suffix of `name`.

    Raises:
        DataError: There is no permission to read the file, or its content does not match its name.
    """
    with ExitStack() as stack:
        try:
            opened = io.BufferedReader(path.open("rb", buffering=0), HEAD_BYTES)
            file: io.BufferedReader[Any] = stack.enter_context(opened)
        except PermissionError:
            raise DataError(
                "no permission to read the file", where=where, fix="Make it readable."
            ) from None
        suffix = Path(name).suffix.lower()
        if member:
            archive = stack.enter_context(zipfile.ZipFile(file))
            # The archive's list of members is read again for each member.
            bound.add(len(archive.filelist) * VALUE_BYTES, where)
            file = _bounded(archive.open(member), bound, where)
        check_magic(file.peek(), suffix, where)
        if suffix in COMPRESSIONS:
            file = _bounded(COMPRESSIONS[suffix].unpack(file), bound, where)
        with file:
            yield file


def check_magic(head: bytes, suffix: str, where: str) -> None:
    """Raise a DataError unless a file's content and its name agree on its compression."""
    magic = {suffix: known.magic for suffix, known in COMPRESSIONS.items()} | {ZIP: (ZIP_MAGIC,)}
    actual = next((s for s, begins in magic.items() if head.startswith(begins)), "")
    if actual == (suffix if suffix in magic else ""):
        return
    names = {suffix: known.name for suffix, known in COMPRESSIONS.items()} | {ZIP: "ZIP"}
    raise DataError(
        f"the content is {names[actual] if actual else f'not {names[suffix]}'}, "
        f"but the name ends with {suffix}",
        where=where,
        fix="It may be a spreadsheet: open it in the program that made it, and save it as CSV."
        if b"[Content_Types].xml" in head
        else f"Rename the file to end with {actual}."
        if actual
        else f"Remove {suffix} from the name.",
    )


class _Bounded(io.RawIOBase):
    """A raw stream that counts the bytes read from another stream."""

    def __init__(self, stream: Any, bound: ReadBound, where: str) -> None:
        self._stream, self._bound, self._where = stream, bound, where

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        data = self._stream.read(len(view))
        view[: len(data)] = data
        self._bound.add(len(data) + data.count(b"\n") * LINE_BYTES, self._where)
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


def _bounded(stream: Any, bound: ReadBound, where: str) -> io.BufferedReader:
    return io.BufferedReader(_Bounded(stream, bound, where), HEAD_BYTES)
