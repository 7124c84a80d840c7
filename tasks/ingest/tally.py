"""Counts of kept and dropped rows, and the check that enough are kept."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import ceil

from tasks.ingest.classify import DroppedRow
from tasks.ingest.source import SET_SOURCE
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.errors import DataError

N_EXAMPLES = 3


@dataclass
class Tally:
    """Counts of kept rows and of dropped ones by reason, with the first rows for each reason.

    `place` returns the place of a row, by its number.
    """

    place: Callable[[int], str]
    kept: int = 0
    dropped: Counter[IngestDrop] = field(default_factory=Counter)
    examples: dict[IngestDrop, list[DroppedRow]] = field(default_factory=dict)

    def drop(self, row: DroppedRow) -> None:
        """Count one dropped row."""
        self.dropped[row.reason] += 1
        examples = self.examples.setdefault(row.reason, [])
        if len(examples) < N_EXAMPLES:
            examples.append(row)

    def __str__(self) -> str:
        excluded, repeated = self.dropped[IngestDrop.EXCLUDED], self.dropped[IngestDrop.REPEATED]
        return (
            f"{self.n_rows:,} rows, {self.kept:,} kept, {excluded:,} excluded, "
            f"{repeated:,} repeated, {self.n_faulty:,} faulty"
        )

    @property
    def n_rows(self) -> int:
        """Number of rows that were read."""
        return self.kept + self.dropped.total()

    @property
    def n_faulty(self) -> int:
        """Number of rows that cannot be used, whatever the other rows are."""
        return sum(n for reason, n in self.dropped.items() if reason.is_fault)

    def describe(self, reasons: Iterable[IngestDrop]) -> str:
        """Return an indented line for each reason that occurred, with its first rows."""
        return "".join(
            f"\n  {reason}: {self.dropped[reason]:,}, such as "
            + "; ".join(f"{self.place(row.line)} ({row.detail})" for row in self.examples[reason])
            for reason in reasons
            if reason in self.examples
        )


def check_drop_rate(tally: Tally, max_dropped: float, where: str) -> None:
    """Check that the rows make a pool.

    Raises:
        DataError: The file has no rows, none is kept, or the share of faulty ones is above
            `max_dropped`.
    """
    if not tally.n_rows:
        raise DataError("the file has no rows", where=where, fix=SET_SOURCE)
    share = tally.n_faulty / tally.n_rows
    if share > max_dropped:
        sufficient = ceil(100 * tally.n_faulty / tally.n_rows) / 100
        raise DataError(
            f"{tally.n_faulty:,} of {tally.n_rows:,} rows ({share:.1%}) are faulty, and "
            f"ingest.max_dropped allows {max_dropped:.1%}"
            + tally.describe(reason for reason in IngestDrop if reason.is_fault),
            where=where,
            fix=f"Fix them, or accept the loss: -S ingest.max_dropped={sufficient:g}.",
        )
    if not tally.kept:
        raise DataError(
            f"all {tally.n_rows:,} rows are dropped{tally.describe(IngestDrop)}",
            where=where,
            fix="Look at ingest.exclude and ingest.columns in params.yaml.",
        )
