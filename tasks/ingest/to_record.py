"""One row as records of the pool, or the faults that prevent them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from tasks.ingest.cell_text import as_text, clean_input, clean_output, clean_text, json_of, to_json
from tasks.ingest.columns import ColumnMapping, other_cells, read_cell
from tasks.ingest.conversation import Which, exchanges
from tasks.ingest.marks import may_be_chat, parse_marks
from tasks.ingest.rows import Fault, Row, json_type
from tasks.ingest.turns import SYSTEM, USER, Turn, content_text, parse_text, parse_turns
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.records import LATER_TURNS, record_id

INSTANCES = ("instances", "Instances")  # of self-instruct and of Natural Instructions


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


Result: TypeAlias = PoolRecord | Fault


class Asked(NamedTuple):
    """The cells that one record is made of, not yet cleaned.

    Attributes:
        output: A faulty one does not cost the record: it becomes None, and `extra` has the cell.
        turns: Before the instruction.
        extra: All other cells by column name.
    """

    instruction: object
    input: object
    output: object
    extra: dict[str, object]
    system: str | None = None
    turns: Sequence[Turn] = ()
    tools: str | None = None


def to_records(
    row: Row, mapping: ColumnMapping, max_chars: int, which: Which = Which.LAST
) -> list[Result]:
    """Return the records that a row holds, or what is wrong with each.

    A row holds one record. It holds several if it has ``instances``, or if it is a conversation in
    which every turn of the user's is asked for. Cells that no field has go to `extra`.
    """
    columns = mapping.columns
    if mapping.has_paths:
        fields = {field: read_cell(row, column) for field, column in columns.items()}
    else:
        fields = {field: row.get(column) for field, column in columns.items()}
    extra = other_cells(row, mapping)
    try:
        asked = _asked(fields, extra, mapping, which)
        if isinstance(asked, Fault):
            return [asked]
        return [_record(one, mapping, max_chars) for one in asked]
    except RecursionError:
        return [Fault(IngestDrop.NOT_JSON, "nested too deeply")]


def _asked(
    fields: Mapping[str, object], extra: dict[str, object], mapping: ColumnMapping, which: Which
) -> Sequence[Asked] | Fault:
    instances = next((extra[name] for name in INSTANCES if name in extra), None)
    if isinstance(instances, str):
        instances = parse_text(instances)
    if isinstance(instances, list) and any(isinstance(one, Mapping) for one in instances):
        return list(_instances(fields, extra, instances))
    text = fields["instruction"]
    if mapping.is_plain and (text is None or (isinstance(text, str) and not may_be_chat(text))):
        return [Asked(text, fields.get("input"), fields.get("output"), extra)]
    return _conversation(fields, extra, mapping, which)


def _instances(
    fields: Mapping[str, object], extra: dict[str, object], instances: Sequence[object]
) -> Iterator[Asked]:
    """Yield what each instance of a task asks: the task's instruction with its own input."""
    others = {name: cell for name, cell in extra.items() if name not in INSTANCES}
    for instance in instances:
        own = dict(instance) if isinstance(instance, Mapping) else {"input": instance}
        output = own.pop("output", None)
        if isinstance(output, list) and len(output) == 1:
            output = output[0]
        instruction = fields["instruction"]
        if isinstance(instruction, list) and len(instruction) == 1:
            instruction = instruction[0]
        yield Asked(instruction, own.pop("input", None), output, {**others, **own})


def _conversation(
    fields: Mapping[str, object], extra: dict[str, object], mapping: ColumnMapping, which: Which
) -> Sequence[Asked] | Fault:
    turns = _turns(fields["instruction"], mapping)
    before = _context_turns(fields.get("turns"))
    system = _system(fields.get("system"))
    for part in (turns, before, system):
        if isinstance(part, Fault):
            return part
    output = fields.get("output")
    more = _messages(output)
    dialogue = [*before, *turns, *more]
    found = exchanges(dialogue, which)
    if isinstance(found, Fault):
        return found
    tools = json_of(fields.get("tools"))
    n_turns = {"n_turns": n} if (n := sum(turn.role != SYSTEM for turn in dialogue)) > 1 else {}
    asked = []
    for exchange in found:
        is_last = exchange is found[-1] and which is not Which.FIRST
        answer = output if is_last and not more and output is not None else exchange.output
        prompts = [text for text in dict.fromkeys((system, exchange.system)) if text]
        later = [turn.as_dict() for turn in exchange.later]
        others = {**n_turns, **({LATER_TURNS: later} if later else {}), **extra}
        asked.append(
            Asked(
                exchange.instruction,
                fields.get("input") if is_last else None,
                answer,
                others,
                "\n\n".join(prompts) or None,
                exchange.earlier,
                tools,
            )
        )
    return asked


def _system(cell: object) -> str | Fault:
    parsed = parse_text(cell) if isinstance(cell, str) else None
    return content_text(parsed if isinstance(parsed, Mapping) and "parts" in parsed else cell)


def _turns(cell: object, mapping: ColumnMapping) -> list[Turn] | Fault:
    """Return the turns of the column of the instruction; a plain text is the user's."""
    turns: list[Turn] | Fault | None = None
    if not isinstance(cell, str) or mapping.is_chat or cell[:2] == "[{":
        turns = parse_turns(cell, are_questions=mapping.are_questions)
    if turns is None and isinstance(cell, str):
        turns = parse_marks(cell, by_lines=mapping.has_lines) or [Turn(USER, cell)]
    if turns is not None:
        return turns
    if as_text(cell) is None:
        return Fault(
            IngestDrop.MISSING_INSTRUCTION, f"no value in {mapping.columns['instruction']}"
        )
    return Fault(IngestDrop.NOT_TEXT, f"instruction is {json_type(cell)}")


def _context_turns(cell: object) -> list[Turn] | Fault:
    """Return the turns of the column ``turns``; a text without marks is one of the user's."""
    if cell is None or cell == "":
        return []
    turns = parse_turns(cell)
    if turns is None and isinstance(cell, str):
        turns = parse_marks(cell, by_lines=True) or [Turn(USER, cell)]
    return Fault(IngestDrop.NOT_TEXT, f"turns is {json_type(cell)}") if turns is None else turns


def _messages(cell: object) -> list[Turn]:
    """Return the messages that an output consists of, if it does."""
    items = parse_text(cell) if isinstance(cell, str) and cell[:2] == "[{" else cell
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        return []
    turns = parse_turns(items)
    return turns if isinstance(turns, list) else []


def _record(asked: Asked, mapping: ColumnMapping, max_chars: int) -> Result:
    """Return the record with these cells, or the first fault of its texts."""
    instruction = clean_text("instruction", asked.instruction, max_chars)
    if isinstance(instruction, Fault):
        return instruction
    if instruction is None:
        column = mapping.columns["instruction"]
        return Fault(IngestDrop.MISSING_INSTRUCTION, f"no value in {column}")
    if not instruction:
        return Fault(IngestDrop.BLANK_INSTRUCTION, "no visible character")
    input_text = clean_input(asked.input, max_chars)
    if isinstance(input_text, Fault):
        return input_text
    output, extra = clean_output(asked.output, max_chars), asked.extra
    if isinstance(output, Fault):
        extra, output = {**extra, mapping.columns.get("output", "output"): asked.output}, None
    context = _context(asked, max_chars)
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


def _context(asked: Asked, max_chars: int) -> Context | Fault:
    """Return the cleaned context, or its first fault."""
    if not (asked.system or asked.turns or asked.tools):
        return NO_CONTEXT
    system = clean_text("system", asked.system, max_chars)
    tools = clean_text("tools", asked.tools, max_chars)
    contents = [clean_text("a turn", turn.content, max_chars) for turn in asked.turns]
    texts = []
    for text in (system, tools, *contents):
        if isinstance(text, Fault):
            return text
        texts.append(text or "")
    turns = [
        turn._replace(content=text).as_dict()
        for turn, text in zip(asked.turns, texts[2:], strict=True)
    ]
    return Context(texts[0] or None, to_json(turns) if turns else None, texts[1] or None)
