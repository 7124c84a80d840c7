"""Count kept and dropped rows, and check that enough are kept."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil

from tasks.ingest.cell_text import to_json
from tasks.ingest.classify_rows import DroppedRow
from tasks.ingest.encoding import how_to_convert
from tasks.ingest.map_columns import choose_column
from tasks.ingest.readers import SET_SOURCE
from tasks.ingest.reshape_hints import jq
from tasks.ingest.rows import Row
from tasks.ingest.suggest_column import guess
from tasks.ingest.unpack_limit import weigh
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.errors import DataError
from tasks.lib.core.format_text import truncate

N_EXAMPLES = 3
MAX_KEPT_BYTES = 1_000_000  # of a row that is kept as an example
MAX_EXCERPT = 300  # characters of a row in a message
MAIN_SHARE = 0.5  # of all rows; if more have the same fault, the file or a parameter is wrong
# jq programs for rows that are texts, JSON text or lists of objects, and for lists of cells.
OBJECTS = '[.] | flatten[] | if type == "string" then (fromjson? // {instruction: .}) else . end'
CELLS = '(if (.[0] | type) == "array" then .[] else . end) | {instruction: .[0], output: .[1]}'
OF_INSTRUCTION = {
    *(IngestDrop.MISSING_INSTRUCTION, IngestDrop.BLANK_INSTRUCTION, IngestDrop.NOT_TEXT)
}


@dataclass
class Tally:
    """Counts of kept rows, and of dropped rows by reason, with examples for each reason.

    `place` returns the location of a row, given its number.
    """

    place: Callable[[int], str]
    kept: int = 0
    dropped: Counter[IngestDrop] = field(default_factory=Counter)
    examples: dict[IngestDrop, list[DroppedRow]] = field(default_factory=dict)
    longest: int = 0  # characters in the longest text above the limit; 0 if only rows are too long

    def drop(self, row: DroppedRow) -> None:
        """Count one dropped row."""
        self.dropped[row.reason] += 1
        examples = self.examples.setdefault(row.reason, [])
        if len(examples) < N_EXAMPLES:
            is_large = row.row is not None and weigh(row.row).n_bytes > MAX_KEPT_BYTES
            examples.append(row._replace(row=None) if is_large else row)
        if row.reason is IngestDrop.TOO_LONG:
            text = re.search(r"has (\d+) characters$", row.detail)
            self.longest = max(self.longest, int(text[1]) if text else 0)

    def __str__(self) -> str:
        excluded, repeated = self.dropped[IngestDrop.EXCLUDED], self.dropped[IngestDrop.REPEATED]
        return (
            f"{self.n_rows:,} rows, {self.kept:,} kept, {excluded:,} excluded, "
            f"{repeated:,} repeated, {self.n_faulty:,} faulty"
        )

    @property
    def is_of_quotes(self) -> bool:
        """Whether quotes are the cause in all examples of rows with wrong cells."""
        return all("quote" in row.detail for row in self.examples[IngestDrop.WRONG_CELLS])

    @property
    def n_rows(self) -> int:
        """Number of rows read."""
        return self.kept + self.dropped.total()

    @property
    def n_faulty(self) -> int:
        """Number of dropped rows, not counting excluded and repeated ones."""
        return sum(n for reason, n in self.dropped.items() if reason.is_fault)

    def describe(self, reasons: Iterable[IngestDrop]) -> str:
        """Return an indented line for each reason that occurred, with examples."""
        return "".join(
            f"\n  {reason}: {self.dropped[reason]:,}, such as "
            + "; ".join(f"{self.place(row.line)} ({row.detail})" for row in self.examples[reason])
            for reason in reasons
            if reason in self.examples
        )


def check_drop_rate(tally: Tally, max_dropped: float, where: str) -> None:
    """Check that enough rows are kept.

    Raises:
        DataError: The file has no rows, no row is kept, or the share of faulty rows is above
            `max_dropped`.
    """
    if not tally.n_rows:
        raise DataError("the file has no rows", where=where, fix=SET_SOURCE)
    share = tally.n_faulty / tally.n_rows
    if share > max_dropped:
        raise DataError(
            f"{tally.n_faulty:,} of {tally.n_rows:,} rows ({share:.1%}) are faulty, but "
            f"ingest.max_dropped allows {max_dropped:.1%}"
            + tally.describe(reason for reason in IngestDrop if reason.is_fault),
            where=where,
            fix=_fix(tally),
        )
    if not tally.kept:
        raise DataError(
            f"all {tally.n_rows:,} rows were dropped{tally.describe(IngestDrop)}",
            where=where,
            fix="Check ingest.exclude and ingest.columns in params.yaml.",
        )


def _fix(tally: Tally) -> str:
    """Suggest how to accept the loss or, if most rows would be lost, how to fix the main fault."""
    reason = max((r for r in tally.dropped if r.is_fault), key=lambda r: tally.dropped[r])
    if tally.kept and tally.dropped[reason] <= MAIN_SHARE * tally.n_rows:
        sufficient = ceil(100 * tally.n_faulty / tally.n_rows) / 100
        by_quotes = reason is IngestDrop.WRONG_CELLS and tally.is_of_quotes
        other = ", or read quotes as text: -S 'ingest.table={quotes: none}'" if by_quotes else ""
        return f"Fix them, or accept the loss: -S ingest.max_dropped={sufficient:g}{other}."
    rows = [example.row for example in tally.examples[reason] if example.row is not None]
    shown = f"\n  The first of these rows: {_excerpt(rows[0])}" if rows else ""
    return _fix_of_reason(reason, tally.examples[reason], tally.longest) + shown


def _fix_of_reason(reason: IngestDrop, examples: Sequence[DroppedRow], longest: int) -> str:
    rows = [example.row for example in examples if example.row is not None]
    if reason is IngestDrop.BAD_ENCODING:
        return how_to_convert("\n".join(str(cell) for row in rows for cell in row.values()))
    if reason not in OF_INSTRUCTION:
        return {
            IngestDrop.TOO_LONG: _longer(examples[0].detail, longest),
            IngestDrop.MEDIA: "Set ingest.source to a pool of texts, or remove the media.",
            IngestDrop.NOT_OBJECT: f"Write texts or objects as rows: {jq(OBJECTS)}.\n"
            f"  Lists of cells: {jq(CELLS)}.",
        }.get(reason, "Write the file again, or set ingest.source to another file.")
    role = re.search(r'the roles are ([^,"/]+),', examples[0].detail)
    if role:
        command = f'`sed \'s/"{role[1]}"/"user"/Ig\' OLD > NEW`'
        return f"Rename the role that asks the questions to user, for example with {command}."
    column = guess(rows)
    if column is None:
        return "Set ingest.source to a file with a column of texts or conversations."
    return f"Choose the column with the instructions, for example {choose_column(column)}."


def _longer(detail: str, longest: int) -> str:
    if longest:
        return f"Allow longer texts: -S ingest.max_field_chars={longest}."
    limit = re.search(r"ingest\.\w+", detail)
    key = limit[0] if limit else "ingest.max_row_chars"
    return f"Remove what is not needed from these rows, or raise the limit with -S {key}=NUMBER."


def _excerpt(row: Row) -> str:
    return truncate(to_json(row), MAX_EXCERPT)
