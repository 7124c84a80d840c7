"""Which columns of a file hold the instruction, its input and its output."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tasks.ingest.encoding import escaped
from tasks.ingest.rows import Row
from tasks.lib.core.errors import DataError, ParamError, nearest
from tasks.lib.core.params import PARAMS_FILE

# Ours: theirs, the more telling first. Covers Alpaca, Dolly, prompt and completion or response,
# question and answer, OpenAI's messages, ShareGPT's conversations, and bare prompts or texts.
KNOWN = {
    "instruction": ("instruction", "messages", "conversations", "prompt", "question", "text"),
    "input": ("input", "context"),
    "output": ("output", "response", "completion", "answer"),
}
MAX_NAMES = 20  # columns that a message lists
MAX_NAME_CHARS = 40  # without a header line, a "name" is a whole text


class Layout(NamedTuple):
    """The file's column for each part of a record that it has, the instruction among them."""

    columns: Mapping[str, str]
    is_chat: bool  # the column of the instruction holds lists of turns


PLAIN = Layout({part: part for part in KNOWN}, is_chat=False)


def find_layout(rows: Sequence[Row], chosen: Mapping[str, str], where: str) -> Layout:
    """The layout of the file that starts with `rows`: `chosen` alone, or found by common names.

    Raises:
        ParamError: A chosen column is in none of the rows.
        DataError: Nothing was chosen, and no column has a name known for instructions.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    names = _chosen(columns, chosen) if chosen else _detected(columns)
    if "instruction" not in names:
        raise DataError(
            f"no column is known to hold instructions; the columns are {listed(columns) or 'none'}",
            where=where,
            fix="Say which one does: ingest.columns: {instruction: NAME, input: ..., output: ...} "
            f"in {PARAMS_FILE}. A CSV file needs a header line.",
        )
    column = names["instruction"]
    first = next((row[column] for row in rows if row.get(column) is not None), None)
    is_chat = isinstance(first, list)
    if is_chat and not chosen:  # the turns hold both, and names beside them mean other things
        names = {"instruction": column}
    return Layout(names, is_chat)


def check_chosen(chosen: Mapping[str, str]) -> None:
    """Check what can be known of ``ingest.columns`` without the file.

    Raises:
        ParamError: It names no part of a record, or none for the instruction.
    """
    for name in chosen:
        if name not in KNOWN:
            raise ParamError(
                f"ingest.columns.{name} is unknown{nearest(name, KNOWN)}",
                where=PARAMS_FILE,
                fix=f"Known: {', '.join(KNOWN)}.",
            )
    if chosen and "instruction" not in chosen:
        raise ParamError(
            "ingest.columns names no column for the instruction",
            where=PARAMS_FILE,
            fix="Add instruction: NAME, or leave ingest.columns empty: {}.",
        )


def listed(columns: Sequence[str]) -> str:
    """The columns' names for a message, long ones and long lists cut short."""
    names = [
        escaped(name if len(name) <= MAX_NAME_CHARS else f"{name[:MAX_NAME_CHARS]}…")
        for name in columns[:MAX_NAMES]
    ]
    more = len(columns) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _chosen(columns: Sequence[str], chosen: Mapping[str, str]) -> dict[str, str]:
    for ours, theirs in chosen.items():
        if columns and theirs not in columns:
            raise ParamError(
                f"ingest.columns.{ours}: the source has no column {theirs}"
                f"{nearest(theirs, map(escaped, columns))}",
                where=PARAMS_FILE,
                fix=f"Its columns: {listed(columns)}.",
            )
    return dict(chosen)


def _detected(columns: Sequence[str]) -> dict[str, str]:
    """Our names to theirs, whatever their case."""
    by_plain_name = {name.strip().casefold(): name for name in reversed(columns)}
    found = {
        ours: next((by_plain_name[name] for name in names if name in by_plain_name), None)
        for ours, names in KNOWN.items()
    }
    return {ours: theirs for ours, theirs in found.items() if theirs is not None}
