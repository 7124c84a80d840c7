"""Limit the unpacked size of a source, so that a small file cannot fill memory or the disk."""

from collections.abc import Mapping
from itertools import islice
from typing import NamedTuple

from tasks.ingest.rows import Fault, Row, Rows
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.errors import DataError

MB = 1_000_000
# Below this size, a high ratio does not indicate a bomb: a few identical rows have one too.
RATIO_FROM_BYTES = 256 * MB
# The minimum cost of each of these, in time and memory.
ROW_BYTES, TURN_BYTES, VALUE_BYTES, LINE_BYTES = 512, 256, 64, 16
# Columns are found in the first rows, up to this total size. Rows nested more deeply are skipped.
SAMPLE_BYTES, MAX_DEPTH = 64 * MB, 100


class ReadLimits(NamedTuple):
    """The limits in the ingest section.

    Attributes:
        max_mb: The maximum unpacked size of a source in megabytes.
        max_ratio: The maximum unpacked size of a source as a multiple of its size.
        max_row_chars: The maximum number of characters or bytes in a row.
        max_columns: The maximum number of columns.
    """

    max_mb: int
    max_ratio: int
    max_row_chars: int
    max_columns: int

    @property
    def too_long_row(self) -> Fault:
        """The fault for a row that is too long."""
        limit = f"{self.max_row_chars:,} characters, the limit set by ingest.max_row_chars"
        return Fault(IngestDrop.TOO_LONG, f"the row has more than {limit}")

    def too_long(self, what: str, where: str) -> DataError:
        """Return the error for a line, cell or value so long that the next row cannot be found."""
        return DataError(
            f"{what} has more than {self.max_row_chars:,} characters, the limit set by "
            "ingest.max_row_chars",
            where=where,
            fix="Fix the file there or, if it is intact, raise the limit with "
            "-S ingest.max_row_chars=NUMBER.",
        )

    def check_columns(self, n_columns: int, where: str) -> None:
        """Check the number of columns of a table.

        Raises:
            DataError: The table has too many columns.
        """
        if n_columns > self.max_columns:
            raise DataError(
                f"{n_columns:,} columns exceed {self.max_columns:,}, the limit set by "
                "ingest.max_columns",
                where=where,
                fix="Remove columns that are not needed, or raise the limit with "
                "-S ingest.max_columns=NUMBER.",
            )


class ReadBound:
    """Counts the total unpacked size of a source's files, and raises an error above the limit."""

    def __init__(self, n_bytes: int, limits: ReadLimits) -> None:
        """Start counting for a source of `n_bytes`."""
        by_ratio = max(RATIO_FROM_BYTES, n_bytes * limits.max_ratio)
        self.limits = limits
        self._limit = min(limits.max_mb * MB, by_ratio)
        self._is_ratio = by_ratio <= limits.max_mb * MB
        self._n_bytes, self._n_unpacked = n_bytes, 0

    def add(self, n_unpacked: int, where: str) -> None:
        """Count more unpacked bytes, or their equivalent.

        Raises:
            DataError: The limit is exceeded.
        """
        self._n_unpacked += n_unpacked
        if self._n_unpacked > self._limit:
            key = "max_unpack_ratio" if self._is_ratio else "max_unpacked_mb"
            raise DataError(
                f"{self._n_bytes:,} bytes unpack to more than {self._limit:,}, the limit set by "
                f"ingest.{key}; each row counts as at least {ROW_BYTES} bytes",
                where=where,
                fix=f"If you trust the file, raise the limit with -S ingest.{key}=NUMBER.",
            )

    def add_record(self, n_chars: int, n_turns: int, where: str) -> None:
        """Count a record's size, since many records may repeat the same texts and turns.

        Raises:
            DataError: The limit is exceeded.
        """
        self.add(n_chars + n_turns * TURN_BYTES, where)


class Weight(NamedTuple):
    """The approximate size of a value in memory, and the depth of its nesting."""

    n_bytes: int
    depth: int


def weigh(value: object) -> Weight:
    """Return the weight of a value that consists of objects, lists and texts."""
    n_bytes = depth = 0
    level = [value]
    while level:
        inner: list[object] = []
        for item in level:
            n_bytes += VALUE_BYTES
            if isinstance(item, str | bytes):
                n_bytes += len(item)
            elif isinstance(item, Mapping):
                inner += [*item, *item.values()]
            elif isinstance(item, list | tuple):
                inner += item
        depth += 1
        level = inner
    return Weight(n_bytes, depth)


class Sample(NamedTuple):
    """The first rows of a file, and the subset in which to look for columns."""

    numbered: list[tuple[int, Row | Fault]]
    rows: list[Row]


def take_sample(rows: Rows, max_rows: int, limits: ReadLimits) -> Sample:
    """Return the first rows, or fewer if they are long or have too many columns in total."""
    sample = Sample([], [])
    n_bytes, names = 0, set[str]()
    for line, row in islice(rows, max_rows):
        sample.numbered.append((line, row))
        if isinstance(row, Fault):
            continue
        weight = weigh(row)
        if weight.depth <= MAX_DEPTH:
            sample.rows.append(row)
        n_bytes += weight.n_bytes
        names.update(row)
        if n_bytes > SAMPLE_BYTES or len(names) > limits.max_columns:
            break
    return sample
