"""List the files of a source: one file, the files of a folder, or the members of a ZIP archive."""

import fnmatch
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tasks.ingest.readers import SET_SOURCE
from tasks.lib.core.errors import DataError, nearest
from tasks.lib.core.events import log
from tasks.lib.data_file_names import ZIP, check_splits, is_data_file

LINE_BITS = 40  # the low bits of a row's number give its line, the higher bits its file
MAX_NAMES = 5
SET_FILES = "Choose files with -S 'ingest.files=PATTERN', such as '*.jsonl'."
SET_SPLIT = (
    "Read the training files alone with -S 'ingest.files=*train*', or all files with "
    "-S 'ingest.files=*'."
)


class SourceFile(NamedTuple):
    """A file to read.

    Attributes:
        path: The file, or the archive that contains it.
        member: The file's name in the archive; empty if there is no archive.
        name: The file's name in messages and in the ``source`` column, the same on every machine.
    """

    path: Path
    member: str
    name: str


class SourceFiles:
    """The files of a source in reading order, and a numbering of their rows.

    Attributes:
        files: The files.
        n_bytes: The size of all files and archives together.
    """

    def __init__(self, files: Sequence[SourceFile]) -> None:
        self.files = tuple(files)
        self.n_bytes = sum(path.stat().st_size for path in {file.path for file in files})

    @staticmethod
    def number(file: int, line: int) -> int:
        """Return the number of a row in the whole source; in the first file, this is its line."""
        return file << LINE_BITS | line

    def place(self, number: int) -> tuple[str, int]:
        """Return the name of a row's file, and its line in the file."""
        return self.files[number >> LINE_BITS].name, number & (1 << LINE_BITS) - 1

    def describe(self, number: int) -> str:
        """Return the location of a row for a message; name the file only if there are several."""
        name, line = self.place(number)
        return f"line {line}" if len(self.files) == 1 else f"{name}:{line}"


def list_files(source: Path, patterns: Sequence[str] | None) -> SourceFiles:
    """Return the files of the source.

    If `patterns` is None, return all files of a known format in the folder and its subfolders,
    sorted by name, but skip names that begin with a dot or an underscore. Otherwise, return the
    files that match the first pattern, then the files that match the next pattern, and so on.

    Raises:
        DataError: The source is missing or has no file to read, or `patterns` is None and the
            source has several splits of a data set.
    """
    if source.is_dir():
        names = [p.relative_to(source).as_posix() for p in source.rglob("*") if p.is_file()]
        files = {name: SourceFile(source / name, "", name) for name in _choose(names, patterns)}
    elif source.suffix.lower() == ZIP and source.is_file():
        names = _members(source)
        chosen = _choose(names, patterns)
        files = {name: SourceFile(source, name, f"{source.name}/{name}") for name in chosen}
    elif not source.exists():
        raise missing(source)
    else:
        return SourceFiles([SourceFile(source, "", source.name)])
    if not files:
        shown = ", ".join(sorted(names)[:MAX_NAMES]) or "nothing"
        raise DataError(
            f"found no data files; the source contains {shown}",
            where=str(source),
            fix=f"{SET_SOURCE} {SET_FILES}",
        )
    if patterns is None:
        check_splits(files, str(source), SET_SPLIT)
        skipped = sorted(set(names) - set(files))
        if skipped:
            log.info("%s: not read: %s", source, _some(skipped))
    archives = {zip_file for file in files.values() if (zip_file := _nested_zip(file))}
    if archives:
        raise DataError(
            "cannot read a ZIP archive that is one of several files",
            where=str(source / min(archives)),
            fix=f"Unpack it there, or set ingest.source to the archive. {SET_FILES}",
        )
    return SourceFiles(list(files.values()))


def missing(path: Path) -> DataError:
    """Return the error for a path that does not exist; it suggests the nearest name."""
    if path.with_name(path.name + ".dvc").exists():
        return DataError(
            "the file is tracked by DVC, but it is missing", where=str(path), fix="Run `dvc pull`."
        )
    if not path.parent.is_dir():
        return DataError(f"there is no folder {path.parent}", where=str(path), fix=SET_SOURCE)
    siblings = sorted(p.name for p in path.parent.iterdir())
    return DataError(
        f"the file does not exist{nearest(path.name, siblings)}", where=str(path), fix=SET_SOURCE
    )


def _nested_zip(file: SourceFile) -> str:
    is_nested = file.member.lower().endswith(ZIP) or (
        not file.member and file.path.suffix.lower() == ZIP
    )
    return file.name if is_nested else ""


def _choose(names: Sequence[str], patterns: Sequence[str] | None) -> Iterator[str]:
    data = [name for name in sorted(names) if is_data_file(name) or name.lower().endswith(ZIP)]
    if patterns is None:
        yield from data
    for pattern in patterns or ():
        yield from [pattern] if pattern in names else fnmatch.filter(data, pattern)


def _members(archive: Path) -> list[str]:
    try:
        with zipfile.ZipFile(archive) as opened:
            return [member.filename for member in opened.infolist() if not member.is_dir()]
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
        raise DataError(
            f"not readable as a ZIP archive: {error}", where=str(archive), fix="Fetch it again."
        ) from None


def _some(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
