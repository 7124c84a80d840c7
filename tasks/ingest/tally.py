"""How many rows of a file are kept and dropped, and when that is too few."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import ceil

from tasks.ingest.source import SET_SOURCE
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.errors import DataError

N_EXAMPLES = 3


@dataclass(frozen=True)
class Dropped:
    """A row that is no record, or not a new one."""

    line: int
    reason: IngestDrop
    detail: str


@dataclass
class Tally:
    """How many rows met which end, and a few of each kind of drop."""

    kept: int = 0
    dropped: Counter[IngestDrop] = field(default_factory=Counter)
    examples: dict[IngestDrop, list[Dropped]] = field(default_factory=dict)

    def drop(self, row: Dropped) -> None:
        """Count one dropped row."""
        self.dropped[row.reason] += 1
        some = self.examples.setdefault(row.reason, [])
        if len(some) < N_EXAMPLES:
            some.append(row)

    def __str__(self) -> str:
        excluded, repeated = self.dropped[IngestDrop.EXCLUDED], self.dropped[IngestDrop.REPEATED]
        return (
            f"{self.rows:,} rows, {self.kept:,} kept, {excluded:,} excluded, "
            f"{repeated:,} repeated, {self.faulty:,} faulty"
        )

    @property
    def rows(self) -> int:
        """How many rows were read."""
        return self.kept + self.dropped.total()

    @property
    def faulty(self) -> int:
        """How many rows are of no use, whichever others there are."""
        return sum(n for reason, n in self.dropped.items() if reason.is_fault)

    def reasons(self, reasons: Iterable[IngestDrop]) -> str:
        """One indented line for each of the reasons that occurred, with the first rows it met."""
        return "".join(
            f"\n  {reason}: {self.dropped[reason]:,}, such as "
            + "; ".join(f"line {row.line} ({row.detail})" for row in self.examples[reason])
            for reason in reasons
            if reason in self.examples
        )


def refuse_poor(tally: Tally, max_dropped: float, where: str) -> None:
    """Stop if what was read makes no pool.

    Raises:
        DataError: There were no rows, none is left, or the share of faulty ones is above
            `max_dropped`.
    """
    if not tally.rows:
        raise DataError("there are no rows in it", where=where, fix=SET_SOURCE)
    share = tally.faulty / tally.rows
    if share > max_dropped:
        raise DataError(
            f"{tally.faulty:,} of {tally.rows:,} rows ({share:.1%}) are faulty, and "
            f"ingest.max_dropped allows {max_dropped:.1%}"
            + tally.reasons(reason for reason in IngestDrop if reason.is_fault),
            where=where,
            fix="Mend them, or accept the loss: "
            f"-S ingest.max_dropped={ceil(100 * tally.faulty / tally.rows) / 100:g}.",
        )
    if not tally.kept:
        raise DataError(
            f"all {tally.rows:,} rows are dropped{tally.reasons(IngestDrop)}",
            where=where,
            fix="Look at ingest.exclude and ingest.columns in params.yaml.",
        )
