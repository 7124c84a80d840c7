"""Find the columns for the fields of a record, by common names and by content.

A name alone is not enough: an instruction column must hold texts or conversations, a tools column
must hold lists, and so on. Object keys such as ``data.prompt`` count as columns.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from tasks.ingest.classify_cells import (
    are_labels,
    is_list,
    is_list_of_exchanges,
    is_list_of_messages,
    is_list_of_numbers,
    is_list_of_texts,
    is_list_of_turns,
    is_plain_text,
    is_prose,
    most,
    turns_of,
)
from tasks.ingest.first_cells import cells_of
from tasks.ingest.parse_turns import SYSTEM, TOOL, USER, Turn
from tasks.ingest.question_lists import CHOICES
from tasks.ingest.rows import Row
from tasks.ingest.speaker_marks import parse_marks

# The most specific names come first. docs/how-to/your-pool.md lists the public layouts.
CHATS = (
    *("messages", "conversations", "conversation", "dialogue", "dialog", "chat", "contents"),
    "items",
)
ASKS = ("prompt", "instruction", "question", "query", "input", "inputs", "text")
# Used only if no text column fits.
RARE_CHATS = ("data", "turns", "plain_text", "chosen", "history", "questions", "transcript")
MATERIAL = ("passage", "story", "article", "document", "paragraph")  # inputs if they are texts
NAMES = {
    "instruction": (
        *("instruction", "instructions", "prompt", "question", "query", "problem", "definition"),
        *("inputs_pretokenized", "inputs", "input", "text", "content", "message", "body"),
        *("input_text", "user_prompt", "user_input", "user_query", "user_message"),
        *("problem_statement", "human"),
    ),
    "input": ("input", "context", "inputs"),
    "output": (
        *("output", "response", "completion", "answer", "target", "targets_pretokenized"),
        *("targets", "outputs", "answers", "solution", "expected", "ideal", "output_text"),
        *("expected_output", "expectedoutput", "model_output", "generated_solution"),
        *("canonical_solution", "generation", "preferred_output", "output_messages"),
        *("final_answer", "assistant", "ai"),
    ),
    "system": (
        *("system", "system_prompt", "system_message", "meta_instruction", "systeminstruction"),
        "system_instruction",
    ),
    "turns": ("history", "chat_history", "conversation_history", "dialogue_history", "turns"),
    "tools": ("tools", "functions", "available_tools", "function", "tool_definitions"),
}
# In these columns, lists of texts are user turns only.
QUESTIONS = {"turns", "questions", "prompts", *NAMES["instruction"]}
NOT_CHATS = {
    *(*NAMES["output"], *NAMES["turns"], "chosen", "rejected", "instances"),
    *("qas", "qa_pairs", "qa", *CHOICES),  # independent questions, not a conversation
}
VERDICTS = ("accept", "reject", "ignore")  # from Prodigy, in a column named answer


class Found(NamedTuple):
    """The column of each field, and how the instruction column separates turns.

    Attributes:
        is_chat: Whether the instruction column holds lists of turns.
        has_lines: Whether lines such as ``Human:`` mark turns in the instruction column.
    """

    columns: dict[str, str]
    is_chat: bool = False
    has_lines: bool = False


def detect(rows: Sequence[Row]) -> Found:
    """Return the columns of a file that starts with `rows`; none if there are no instructions."""
    cells = cells_of(rows)
    groups: dict[str, list[str]] = {}
    for name in cells:
        groups.setdefault(_group(name), []).append(name)
    place = {name: i for i, name in enumerate(cells)}
    for group, names in sorted(groups.items(), key=lambda item: item[1][0].count(".")):
        if plain_name(group) in NAMES["output"]:
            continue
        seen = sorted({*names, *groups.get("", ())}, key=place.__getitem__)
        found = _detect({name: cells[name] for name in seen})
        if "instruction" in found.columns:
            return found
    # Nothing fits. If the best name is chosen, the rows' faults say what the column contains.
    by_name = {plain_name(name): name for name in cells if "." not in name}
    known = (by_name[name] for name in (*CHATS, *NAMES["instruction"]) if name in by_name)
    best = next(known, None)
    return Found({}) if best is None else found_in({"instruction": best}, cells[best])


def found_in(columns: dict[str, str], cells: Sequence[object]) -> Found:
    """Return the columns, and how turns are separated in the cells of the instruction column."""
    name = plain_name(columns["instruction"])
    is_turns = is_list_of_messages if name in NAMES["instruction"] else is_list_of_turns
    # A single list of texts may be one instruction; a whole column of them contains questions.
    if most(cells, is_turns) or (len(cells) > 1 and all(map(is_list_of_texts, cells))):
        return Found(columns, is_chat=True)
    return Found(columns, has_lines=_is_marked(cells, by_lines=True) and not _is_marked(cells))


def _is_marked(cells: Sequence[object], *, by_lines: bool = False) -> bool:
    return most(
        cells,
        lambda cell: isinstance(cell, str) and bool(parse_marks(cell, by_lines=by_lines)),
    )


def _detect(cells: Mapping[str, Sequence[object]]) -> Found:
    """Return the columns within one group; nested columns come before outer ones."""
    by_name: dict[str, str] = {}
    for name in sorted(cells, key=lambda name: -name.count(".")):
        by_name.setdefault(plain_name(name), name)

    def find(names: Iterable[str], fits: Callable[[Sequence[object]], bool]) -> str | None:
        known = (by_name[name] for name in names if name in by_name)
        return next((name for name in known if fits(cells[name])), None)

    text = find(
        NAMES["instruction"],
        lambda column: most(column, is_plain_text) and not are_labels(column),
    )
    chat = find(CHATS, lambda column: most(column, is_list_of_turns))
    chat = chat or find(ASKS, lambda column: most(column, is_list_of_messages))
    chat = chat or find_messages(cells)
    marked = None
    if chat is None:
        names = (*CHATS, *ASKS, *(() if text else RARE_CHATS))
        marked = find(names, lambda column: _is_marked(column, by_lines=True))
        rare = None if text else find(RARE_CHATS, lambda column: most(column, is_list_of_turns))
        chat = marked or rare or (None if text else _find_exchanges(cells))
    instruction = chat or text
    if instruction is None:
        return Found({})
    columns = {"instruction": instruction}
    found = found_in(columns, cells[instruction])
    fits = {
        "input": lambda column: (
            not most(column, is_list_of_numbers)
            if chat in {None, marked}
            else _is_material(column, cells[instruction])
        ),
        "output": lambda column: (
            not (
                _end_with_answers(instruction, cells[instruction], found.has_lines)
                or most(column, lambda cell: cell in VERDICTS)
            )
        ),
        "system": lambda column: most(column, is_prose),
        "turns": lambda column: (
            chat in {None, marked}
            and (most(column, is_list_of_turns) or _is_marked(column, by_lines=True))
        ),
        "tools": lambda column: most(column, is_list),
    }
    for field, fit in fits.items():
        used = [column for name in columns.values() for column in (name, _group(name))]
        column = find((name for name in NAMES[field] if by_name.get(name) not in used), fit)
        if column:
            columns[field] = column
    material = None if "input" in columns else find(MATERIAL, fits["input"])
    if material and most(cells[material], is_plain_text):
        columns["input"] = material
    if chat and text and "system" not in columns and _is_preface(cells, text, chat):
        columns["system"] = text
    return found


def plain_name(name: str) -> str:
    """Return the last part of a column's name, spelt as in `NAMES`."""
    last = name.rpartition(".")[2].strip().casefold()
    return last.replace(" ", "_").replace("-", "_")


def _group(name: str) -> str:
    return name.rpartition(".")[0]


def find_messages(cells: Mapping[str, Sequence[object]]) -> str | None:
    """Return the first column of messages, or None; skip columns that are named like answers."""
    names = (name for name in cells if plain_name(name) not in NOT_CHATS)
    return next((name for name in names if most(cells[name], is_list_of_messages)), None)


def _find_exchanges(cells: Mapping[str, Sequence[object]]) -> str | None:
    """Return the first column that lists questions with their answers, or None."""
    names = (name for name in cells if plain_name(name) not in NOT_CHATS)
    return next((name for name in names if most(cells[name], is_list_of_exchanges)), None)


def _end_with_answers(name: str, cells: Sequence[object], has_lines: bool) -> bool:
    are_questions = plain_name(name) in QUESTIONS

    def ends_with_answer(cell: object) -> bool:
        turns = turns_of(cell, by_lines=has_lines, are_questions=are_questions)
        said = [turn for turn in turns or () if isinstance(turn, Turn) and turn.content.strip()]
        return bool(said) and said[-1].role not in {USER, SYSTEM, TOOL}

    return most(cells, ends_with_answer)


def _is_material(column: Sequence[object], chats: Sequence[object]) -> bool:
    """Return whether a column contains the texts that the conversations are about."""
    pairs = zip(map(str, column), map(str, chats), strict=False)
    return most(column, is_prose) and most(
        [said.strip() not in turns for said, turns in pairs], bool
    )


def _is_preface(cells: Mapping[str, Sequence[object]], text: str, chat: str) -> bool:
    """Return whether a column of instructions contains text that is not in the conversations."""
    if plain_name(text) not in {"instruction", "instructions"}:
        return False
    pairs = zip(map(str, cells[text]), map(str, cells[chat]), strict=False)
    return most([said.strip() not in turns for said, turns in pairs], bool)
