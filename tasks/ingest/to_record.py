"""One row as a record, or what keeps it from being one."""

from typing import NamedTuple

from tasks.ingest.cell_text import clean_text, to_json
from tasks.ingest.columns import KNOWN, Layout
from tasks.ingest.conversation import first_exchange
from tasks.ingest.rows import Fault, Row
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.records import record_id


class Record(NamedTuple):
    """The columns of the pool that come from the row alone."""

    id: str
    instruction: str
    input: str
    output: str | None
    extra: str


class Parts(NamedTuple):
    """The cells for each part of a record as the row has them, and the cells left over."""

    known: dict[str, object]
    extra: dict[str, object]


def make_record(row: Row, layout: Layout, max_chars: int) -> Record | Fault:
    """The record that `row` holds, or the first fault of it.

    A null, absent or blank input is empty, and such an output is None. All cells that are no
    part of the record go to `extra`.
    """
    parts = _parts(row, layout)
    if isinstance(parts, Fault):
        return parts
    texts: dict[str, str | None] = {}
    for name in KNOWN:
        text = clean_text(name, parts.known.get(name), max_chars)
        if isinstance(text, Fault):
            return text
        texts[name] = text
    instruction, input_text = texts["instruction"], texts["input"] or ""
    if instruction is None:
        column = layout.columns["instruction"]
        return Fault(IngestDrop.MISSING_INSTRUCTION, f"no value in {column}")
    if not instruction:
        return Fault(IngestDrop.BLANK_INSTRUCTION, "nothing visible in it")
    try:
        extra = to_json(parts.extra)
    except RecursionError:
        return Fault(IngestDrop.NOT_JSON, "nested too deeply")
    own_id = record_id(instruction, input_text)
    return Record(own_id, instruction, input_text, texts["output"] or None, extra)


def _parts(row: Row, layout: Layout) -> Parts | Fault:
    columns = layout.columns
    known = {name: row.get(column) for name, column in columns.items()}
    extra = {name: cell for name, cell in row.items() if name not in columns.values()}
    if not layout.is_chat:
        return Parts(known, extra)
    exchange = first_exchange(known["instruction"])
    if isinstance(exchange, Fault):
        return exchange
    known = {"output": exchange.output, **known, "instruction": exchange.instruction}
    return Parts(known, {**exchange.extra, **extra})
