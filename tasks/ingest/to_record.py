"""One row as a record of the pool, or the fault that prevents it."""

from typing import NamedTuple

from tasks.ingest.cell_text import clean_text, to_json
from tasks.ingest.columns import FIELDS, ColumnMapping
from tasks.ingest.conversation import first_exchange
from tasks.ingest.rows import Fault, Row
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.records import record_id


class PoolRecord(NamedTuple):
    """The columns of the pool that come from the row alone."""

    id: str
    instruction: str
    input: str
    output: str | None
    extra: str


class Cells(NamedTuple):
    """The cells of a row: those of a record's fields, and all others by column name."""

    fields: dict[str, object]
    extra: dict[str, object]


def to_record(row: Row, mapping: ColumnMapping, max_chars: int) -> PoolRecord | Fault:
    """Return the record that `row` holds, or its first fault.

    A null, absent or blank input becomes empty; such an output becomes None. All other cells go to
    `extra`.
    """
    cells = _split_cells(row, mapping)
    if isinstance(cells, Fault):
        return cells
    texts: dict[str, str | None] = {}
    for field in FIELDS:
        text = clean_text(field, cells.fields.get(field), max_chars)
        if isinstance(text, Fault):
            return text
        texts[field] = text
    instruction, input_text = texts["instruction"], texts["input"] or ""
    if instruction is None:
        column = mapping.columns["instruction"]
        return Fault(IngestDrop.MISSING_INSTRUCTION, f"no value in {column}")
    if not instruction:
        return Fault(IngestDrop.BLANK_INSTRUCTION, "no visible character")
    try:
        extra = to_json(cells.extra)
    except RecursionError:
        return Fault(IngestDrop.NOT_JSON, "nested too deeply")
    new_id = record_id(instruction, input_text)
    return PoolRecord(new_id, instruction, input_text, texts["output"] or None, extra)


def _split_cells(row: Row, mapping: ColumnMapping) -> Cells | Fault:
    columns = mapping.columns
    fields = {field: row.get(column) for field, column in columns.items()}
    extra = {name: cell for name, cell in row.items() if name not in columns.values()}
    if not mapping.is_chat:
        return Cells(fields, extra)
    exchange = first_exchange(fields["instruction"])
    if isinstance(exchange, Fault):
        return exchange
    fields = {"output": exchange.output, **fields, "instruction": exchange.instruction}
    return Cells(fields, {**exchange.extra, **extra})
