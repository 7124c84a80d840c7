"""Find the rows that a file excludes: by their texts, by their own ids, or by record ids."""

import re
from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

from tasks.ingest.cell_text import comparison_key
from tasks.ingest.detect_columns import detect
from tasks.ingest.first_cells import names_of
from tasks.ingest.map_columns import SAMPLE_ROWS, map_columns, read_cell
from tasks.ingest.rows import Fault, Row, Rows
from tasks.ingest.to_record import PoolRecord, to_records
from tasks.ingest.unpack_limit import ReadLimits, take_sample

ID_NAMES = ("id", "_id", "uuid", "message_id", "prompt_id", "question_id", "key", "hash", "idx")
_RECORD_ID = re.compile(r"[0-9a-f]{16}")


class Exclusions(NamedTuple):
    """Rows to exclude.

    Attributes:
        record_ids: Ids of records in the pool.
        keys: The values of `column` that exclude a row.
        column: The pool's own id column; None if it excludes no rows.
    """

    record_ids: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    column: str | None = None

    def has_row(self, row: Row) -> bool:
        """Return whether the row's own id is in the file."""
        return self.column is not None and comparison_key(row.get(self.column)) in self.keys


def find_exclusions(rows: Rows, max_chars: int, limits: ReadLimits) -> Exclusions:
    """Return the exclusions that the rows of a file define.

    A row with an instruction excludes the records with the same texts. Any other row excludes the
    pool's rows with the same value in the id column. A file with one column is a list of ids. A
    record id excludes that record.
    """
    sample, first = take_sample(rows, SAMPLE_ROWS, limits)
    names = names_of(first)
    column = id_column(names) or (names[0] if len(names) == 1 else None)
    has_texts = "instruction" in detect(first).columns
    mapping = map_columns(first, {}, "") if has_texts else None
    texts: set[str] = set()
    record_ids: set[str] = set()
    for _, row in chain(sample, rows):
        if isinstance(row, Fault):
            continue
        key = comparison_key(read_cell(row, column)) if column else None
        if key is not None:
            texts.add(key)
        if mapping:
            found = to_records(row, mapping, max_chars)
            record_ids.update(record.id for record in found if isinstance(record, PoolRecord))
    record_ids.update(filter(_RECORD_ID.fullmatch, texts))
    if len(names) == 1:
        return Exclusions(frozenset(record_ids), frozenset(texts), "id")
    is_key = column is not None and not has_texts
    return Exclusions(frozenset(record_ids), frozenset(texts), column if is_key else None)


def id_column(names: Iterable[str]) -> str | None:
    """Return the first column that is named like an id, or None."""
    plain = {name.strip().casefold(): name for name in reversed(list(names))}
    return next((plain[name] for name in ID_NAMES if name in plain), None)
