"""Open compressed files; check that name and content agree, and limit the unpacked size."""

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
from tasks.lib.core.errors import DataError
from tasks.lib.data_files import ZIP

MB = 1_000_000
# Below this size, a high ratio does not mean a bomb: a short file of equal rows has one.
RATIO_FROM_BYTES = 256 * MB


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


class UnpackLimits(NamedTuple):
    """The maximum unpacked size, in megabytes and as a multiple of the packed size."""

    max_mb: int
    max_ratio: int


class UnpackBound:
    """Counts the unpacked bytes of a file, and raises an error when they exceed the limit."""

    def __init__(self, packed_bytes: int, limits: UnpackLimits, where: str) -> None:
        by_ratio = max(RATIO_FROM_BYTES, packed_bytes * limits.max_ratio)
        self._limit = min(limits.max_mb * MB, by_ratio)
        self._is_ratio = by_ratio <= limits.max_mb * MB
        self._packed, self._where = packed_bytes, where
        self._n_bytes = 0

    def add(self, n_bytes: int) -> None:
        """Count more unpacked bytes.

        Raises:
            DataError: The limit is exceeded.
        """
        self._n_bytes += n_bytes
        if self._n_bytes > self._limit:
            key = "max_unpack_ratio" if self._is_ratio else "max_unpacked_mb"
            raise DataError(
                f"{self._packed:,} bytes unpack to more than {self._limit:,}, "
                f"the limit set by ingest.{key}",
                where=self._where,
                fix=f"If you trust the file, raise the limit with -S ingest.{key}=NUMBER.",
            )


@contextmanager
def open_file(
    path: Path, member: str, name: str, limits: UnpackLimits, where: str
) -> Iterator[io.BufferedReader]:
    """Open a file or a member of a ZIP archive; unpack it according to the suffix of `name`.

    Raises:
        DataError: The file may not be read, or its content does not match its name.
    """
    packed_bytes = path.stat().st_size
    bound = UnpackBound(packed_bytes, limits, where)
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
            file = _bounded(archive.open(member), bound)
        check_magic(file.peek(), suffix, where)
        if suffix in COMPRESSIONS:
            file = _bounded(COMPRESSIONS[suffix].unpack(file), bound)
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

    def __init__(self, stream: Any, bound: UnpackBound) -> None:
        self._stream, self._bound = stream, bound

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        data = self._stream.read(len(view))
        view[: len(data)] = data
        self._bound.add(len(data))
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


def _bounded(stream: Any, bound: UnpackBound) -> io.BufferedReader:
    return io.BufferedReader(_Bounded(stream, bound), HEAD_BYTES)
