"""Turn a row into records of the pool, or into faults."""

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from tasks.ingest.cell_text import clean_input, clean_output, clean_text, to_json
from tasks.ingest.conversation import Which
from tasks.ingest.map_columns import ColumnMapping
from tasks.ingest.raw_records import RawRecord, read_raw_records
from tasks.ingest.rows import Fault, Row
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.records import record_id


class PoolRecord(NamedTuple):
    """The columns of the pool that come from the row alone."""

    id: str
    instruction: str
    input: str
    output: str | None
    system: str | None
    turns: str | None
    tools: str | None
    extra: str

    @property
    def n_chars(self) -> int:
        """Number of characters in all columns."""
        return sum(map(len, filter(None, self)))

    @property
    def n_turns(self) -> int:
        """Number of earlier turns."""
        return self.turns.count('"role"') if self.turns else 0


Result: TypeAlias = PoolRecord | Fault


def to_records(
    row: Row, mapping: ColumnMapping, max_chars: int, which: Which = Which.LAST
) -> Iterator[Result]:
    """Yield each record in a row, or its fault if it has one; see `read_raw_records`."""
    try:
        records = read_raw_records(row, mapping, which)
        if isinstance(records, Fault):
            yield records
            return
        for record in records:
            yield _record(record, mapping, max_chars)
    except RecursionError:
        yield Fault(IngestDrop.NOT_JSON, "nested too deeply")


def _record(raw: RawRecord, mapping: ColumnMapping, max_chars: int) -> Result:
    """Return the cleaned record, or the first fault in its texts.

    A faulty output is not a fault of the record: it becomes None, and `extra` keeps the
    original cell.
    """
    instruction = clean_text("instruction", raw.instruction, max_chars)
    if isinstance(instruction, Fault):
        return instruction
    if instruction is None:
        column = mapping.columns["instruction"]
        return Fault(IngestDrop.MISSING_INSTRUCTION, f"no value in {column}")
    if not instruction:
        return Fault(IngestDrop.BLANK_INSTRUCTION, "no visible character")
    input_text = clean_input(raw.input, max_chars)
    if isinstance(input_text, Fault):
        return input_text
    output, extra = clean_output(raw.output, max_chars), raw.extra
    if isinstance(output, Fault):
        extra, output = {**extra, mapping.columns.get("output", "output"): raw.output}, None
    context = _context(raw, max_chars)
    if isinstance(context, Fault):
        return context
    new_id = record_id(instruction, input_text, *context)
    return PoolRecord(new_id, instruction, input_text, output, *context, to_json(extra))


class Context(NamedTuple):
    """The columns of the pool for a record's context."""

    system: str | None = None
    turns: str | None = None
    tools: str | None = None


NO_CONTEXT = Context()


def _context(raw: RawRecord, max_chars: int) -> Context | Fault:
    """Return the cleaned context, or its first fault."""
    if not (raw.system or raw.turns or raw.tools):
        return NO_CONTEXT
    system = clean_text("system", raw.system, max_chars)
    tools = clean_text("tools", raw.tools, max_chars)
    contents = [clean_text("a turn", turn.content, max_chars) for turn in raw.turns]
    texts = []
    for text in (system, tools, *contents):
        if isinstance(text, Fault):
            return text
        texts.append(text or "")
    turns = [
        turn._replace(content=text).as_dict()
        for turn, text in zip(raw.turns, texts[2:], strict=True)
    ]
    return Context(texts[0] or None, to_json(turns) if turns else None, texts[1] or None)
