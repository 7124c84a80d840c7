"""Recognise data files, their formats and their splits by name."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from tasks.lib.core.errors import DataError, nearest

FORMATS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".parquet")
PACKED = (".gz", ".bz2", ".xz", ".zst")
ZIP = ".zip"
KNOWN = (
    f"Known formats: {', '.join(FORMATS)}, each also compressed as {', '.join(PACKED)} or {ZIP}."
)

_NOT_DATA = re.compile(r"(readme|licen[sc]e|changelog|dataset_infos?|requirements)\b.*", re.I)
_SPLIT = re.compile(r"(?:^|[/_.-])(train|test|valid|validation|dev|eval)(?=[/_.\d-]|$)", re.I)


def data_suffix(name: str) -> str:
    """Return a file's format suffix in lower case, ignoring a compression suffix."""
    path = PurePosixPath(name.lower())
    return PurePosixPath(path.stem).suffix if path.suffix in PACKED else path.suffix


def is_data_file(name: str) -> bool:
    """Return whether a relative path names a data file rather than documentation or a hidden file.

    Names that begin with a dot or an underscore are hidden.
    """
    path = PurePosixPath(name)
    is_hidden = any(part.startswith((".", "_")) for part in path.parts)
    return not is_hidden and not _NOT_DATA.fullmatch(path.name) and data_suffix(name) in FORMATS


def check_format(name: str, where: str, fix: str) -> None:
    """Check that a file has the suffix of a known format.

    Raises:
        DataError: The suffix is missing or unknown. The message suggests the nearest known suffix.
    """
    suffix = data_suffix(name)
    if suffix not in FORMATS:
        raise DataError(
            f"{suffix!r} is not a known format{nearest(suffix, FORMATS)}"
            if suffix
            else "the file name has no suffix, so its format is unknown",
            where=where,
            fix=f"{KNOWN} {fix}",
        )


def check_splits(names: Iterable[str], where: str, fix: str) -> None:
    """Check that training files are not mixed with files of other splits.

    Raises:
        DataError: The files are mixed. The message names a file of each split.
    """
    splits: dict[str, str] = {}
    for name in names:
        for split in _SPLIT.findall(name):
            splits.setdefault(split.lower(), name)
    if "train" in splits and len(splits) > 1:
        raise DataError(
            "the source contains several splits of a data set: "
            + ", ".join(f"{split} ({name})" for split, name in splits.items()),
            where=where,
            fix=fix,
        )
