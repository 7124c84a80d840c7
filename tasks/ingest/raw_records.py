"""Split a row into the uncleaned cells of one or more records."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tasks.ingest.cell_text import as_text, json_of
from tasks.ingest.conversation import Exchange, Which, exchanges
from tasks.ingest.detect_columns import plain_name
from tasks.ingest.map_columns import ColumnMapping, other_cells, read_cell
from tasks.ingest.message_parts import content_text
from tasks.ingest.parse_turns import SYSTEM, USER, Turn, parse_text, parse_turns
from tasks.ingest.question_lists import join_questions, with_choices
from tasks.ingest.rows import Fault, Row, json_type
from tasks.ingest.speaker_marks import may_be_chat, parse_marks
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.records import LATER_TURNS

ANSWER_KEYS = ("choices", "message", "content")  # in responses from OpenAI's API
_MEDIA_URL = re.compile("data:(?:image|audio|video)/")
INSTANCES = ("instances", "Instances")  # in self-instruct and in Natural Instructions


class RawRecord(NamedTuple):
    """The cells of one record, not yet cleaned.

    Attributes:
        turns: The turns before the instruction.
        extra: All other cells by column name.
    """

    instruction: object
    input: object
    output: object
    extra: dict[str, object]
    system: str | None = None
    turns: Sequence[Turn] = ()
    tools: str | None = None


def read_raw_records(row: Row, mapping: ColumnMapping, which: Which) -> Iterable[RawRecord] | Fault:
    """Return the records in a row, or the row's fault.

    A row has several records if it has ``instances``, or if it is a conversation and `which`
    selects every user turn. Cells that belong to no field go to `extra`.
    """
    columns = mapping.columns
    if mapping.media and (media := _media_in(row, mapping)):
        return media
    if mapping.has_paths:
        fields = {field: read_cell(row, column) for field, column in columns.items()}
    else:
        fields = {field: row.get(column) for field, column in columns.items()}
    extra = other_cells(row, mapping)
    if mapping.choices:
        choices, question = row.get(mapping.choices), fields["instruction"]
        fields["input"] = with_choices(fields.get("input"), choices, question)
    instances = next((extra[name] for name in INSTANCES if name in extra), None)
    if isinstance(instances, str):
        instances = parse_text(instances)
    if isinstance(instances, list) and any(isinstance(instance, Mapping) for instance in instances):
        return _instances(fields, extra, instances)
    text = fields["instruction"]
    if mapping.is_plain and (text is None or (isinstance(text, str) and not may_be_chat(text))):
        return [RawRecord(text, fields.get("input"), answer_of(fields.get("output")), extra)]
    return _conversation(fields, extra, mapping, which)


def _media_in(row: Row, mapping: ColumnMapping) -> Fault | None:
    """Return the fault of a row that contains media such as an image, or None.

    A mere file name is not a fault, unless the text contains a mark such as ``<image>`` for it.
    """
    for name in mapping.media:
        items = row.get(name)
        is_marked = f"<{plain_name(name).rstrip('s')}>" in str(row)
        for item in items if isinstance(items, list) else [items]:
            is_data = isinstance(item, str) and _MEDIA_URL.match(item)
            if isinstance(item, Mapping | bytes) or is_data or (item and is_marked):
                return Fault(IngestDrop.MEDIA, f"the column {name} has a value")
    return None


def answer_of(cell: object) -> object:
    """Return the text of a model's response, or the only text in a cell; otherwise, the cell."""
    if cell is None or isinstance(cell, str):
        return cell
    inner = cell
    while isinstance(inner, Mapping | list) and inner:
        if isinstance(inner, list):
            inner = inner[0] if len(inner) == 1 else None
        elif {"choices", "role"} & inner.keys() or isinstance(inner.get("message"), Mapping):
            inner = next((inner[key] for key in ANSWER_KEYS if inner.get(key)), None)
        else:
            inner = next(iter(inner.values())) if len(inner) == 1 else _text_in(inner)
    return inner if isinstance(inner, str) else cell


def _text_in(answer: Mapping[str, object]) -> object:
    """Return the texts of an answer that also gives their positions, as in SQuAD, or None."""
    texts = answer.get("text")
    return texts if isinstance(texts, list) and "answer_start" in answer else None


def _instances(
    fields: Mapping[str, object], extra: dict[str, object], instances: Sequence[object]
) -> Iterator[RawRecord]:
    """Yield a record for each instance of a task, which has its own input and output."""
    others = {name: cell for name, cell in extra.items() if name not in INSTANCES}
    for instance in instances:
        own = dict(instance) if isinstance(instance, Mapping) else {"input": instance}
        output = answer_of(own.pop("output", None))
        instruction = fields["instruction"]
        if isinstance(instruction, list) and len(instruction) == 1:
            instruction = instruction[0]
        yield RawRecord(instruction, own.pop("input", None), output, {**others, **own})


def _conversation(
    fields: Mapping[str, object], extra: dict[str, object], mapping: ColumnMapping, which: Which
) -> Iterable[RawRecord] | Fault:
    asked = fields["instruction"]
    joined = join_questions(asked, fields.get("output")) if mapping.are_questions else []
    turns = joined or _turns(asked, mapping)
    before = _context_turns(fields.get("turns"))
    system = _system(fields.get("system"))
    if isinstance(turns, Fault) or isinstance(before, Fault) or isinstance(system, Fault):
        return next(part for part in (turns, before, system) if isinstance(part, Fault))
    more = [] if joined else _messages(fields.get("output"))
    dialogue = [*before, *turns, *more]
    found = exchanges(dialogue, which)
    if isinstance(found, Fault):
        return found
    n_turns = sum(turn.role != SYSTEM for turn in dialogue)
    others = {"n_turns": n_turns, **extra} if n_turns > 1 else extra
    own = {field: fields.get(field) for field in ("input", "output") if field in fields}
    if more or joined:
        own.pop("output")
    tools = json_of(fields.get("tools"))
    return (_exchange(exchange, own, others, mapping, (system, tools)) for exchange in found)


def _exchange(
    exchange: Exchange,
    own: Mapping[str, object],
    extra: dict[str, object],
    mapping: ColumnMapping,
    context: tuple[str, str | None],
) -> RawRecord:
    """Return the record of an exchange.

    The output column belongs to the last exchange. So does the input column, unless the whole
    conversation, a list of turns, is about its text.
    """
    system, tools = context
    if not exchange.is_last:
        shared = {"input"} if mapping.is_chat else set()
        others = {field: cell for field, cell in own.items() if field not in shared}
        extra = {**extra, **{mapping.columns[field]: cell for field, cell in others.items()}}
        own = {field: cell for field, cell in own.items() if field in shared}
    if exchange.later:
        extra = {LATER_TURNS: [turn.as_dict() for turn in exchange.later], **extra}
    answer = answer_of(own.get("output"))
    return RawRecord(
        instruction=exchange.instruction,
        input=own.get("input"),
        output=exchange.output if answer is None else answer,
        extra=extra,
        system="\n\n".join(filter(None, dict.fromkeys((system, exchange.system)))) or None,
        turns=exchange.earlier,
        tools=tools,
    )


def _system(cell: object) -> str | Fault:
    parsed = parse_text(cell) if isinstance(cell, str) else None
    return content_text(parsed if isinstance(parsed, Mapping) and "parts" in parsed else cell)


def _turns(cell: object, mapping: ColumnMapping) -> list[Turn] | Fault:
    """Return the turns in the instruction column; plain text is a user turn."""
    turns: list[Turn] | Fault | None = None
    if not isinstance(cell, str) or mapping.is_chat or cell[:2] == "[{":
        turns = parse_turns(cell, are_questions=mapping.are_questions)
    if turns is None and isinstance(cell, str):
        if mapping.is_chat and cell.lstrip()[:2] == "[{":
            return Fault(IngestDrop.NOT_JSON, "the turns are broken JSON, perhaps cut off")
        turns = parse_marks(cell, by_lines=mapping.has_lines) or [Turn(USER, cell)]
    if turns is not None:
        return turns
    if as_text(cell) is None:
        return Fault(
            IngestDrop.MISSING_INSTRUCTION, f"no value in {mapping.columns['instruction']}"
        )
    return Fault(IngestDrop.NOT_TEXT, f"expected text as instruction, not {json_type(cell)}")


def _context_turns(cell: object) -> list[Turn] | Fault:
    """Return the turns in the ``turns`` column; text without marks is one user turn."""
    if cell is None or cell == "":
        return []
    turns = parse_turns(cell)
    if turns is None and isinstance(cell, str):
        turns = parse_marks(cell, by_lines=True) or [Turn(USER, cell)]
    return (
        Fault(IngestDrop.NOT_TEXT, f"expected a list of turns, not {json_type(cell)}")
        if turns is None
        else turns
    )


def _messages(cell: object) -> list[Turn]:
    """Return the messages in an output cell; empty if it is not a list of messages."""
    items = parse_text(cell) if isinstance(cell, str) and cell[:2] == "[{" else cell
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        return []
    turns = parse_turns(items)
    return turns if isinstance(turns, list) else []
