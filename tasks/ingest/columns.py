"""Which columns of a file hold the instruction, its input and its output."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tasks.ingest.encoding import escape_surrogates
from tasks.ingest.rows import Row
from tasks.lib.core.errors import DataError, ParamError, nearest
from tasks.lib.core.params import PARAMS_FILE

# Field of a record: common names of its column, the most specific first. Covers Alpaca, Dolly,
# prompt and completion or response, question and answer, OpenAI's messages, ShareGPT's
# conversations, and bare prompts or texts.
COMMON_NAMES = {
    "instruction": ("instruction", "messages", "conversations", "prompt", "question", "text"),
    "input": ("input", "context"),
    "output": ("output", "response", "completion", "answer"),
}
FIELDS = tuple(COMMON_NAMES)
MAX_NAMES = 20  # columns that a message lists
MAX_NAME_CHARS = 40  # without a header line, a "name" is a whole text


class ColumnMapping(NamedTuple):
    """The file's column for each field that has one; the instruction always has."""

    columns: Mapping[str, str]
    is_chat: bool  # the column of the instruction holds lists of turns


SAME_NAMES = ColumnMapping({field: field for field in FIELDS}, is_chat=False)


def map_columns(rows: Sequence[Row], chosen: Mapping[str, str], where: str) -> ColumnMapping:
    """Return the mapping for a file that starts with `rows`.

    Takes the columns of `chosen` and no others; if it is empty, finds columns by common names.

    Raises:
        ParamError: None of the rows has a chosen column.
        DataError: Nothing was chosen, and no column has a common name for instructions.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = _check_exist(chosen, names) if chosen else _detect(names)
    if "instruction" not in columns:
        raise DataError(
            f"no column is known to hold instructions; the columns are {list_names(names)}",
            where=where,
            fix="Name it: ingest.columns: {instruction: NAME, input: ..., output: ...} "
            f"in {PARAMS_FILE}. A CSV file needs a header line.",
        )
    column = columns["instruction"]
    first = next((row[column] for row in rows if row.get(column) is not None), None)
    is_chat = isinstance(first, list)
    if is_chat and not chosen:  # the turns hold input and output; such columns mean other things
        columns = {"instruction": column}
    return ColumnMapping(columns, is_chat)


def check_chosen_columns(chosen: Mapping[str, str]) -> None:
    """Check ``ingest.columns`` without the file.

    Raises:
        ParamError: A field is unknown, or the instruction has no column.
    """
    for field in chosen:
        if field not in FIELDS:
            raise ParamError(
                f"ingest.columns.{field} is unknown{nearest(field, FIELDS)}",
                where=PARAMS_FILE,
                fix=f"Known: {', '.join(FIELDS)}.",
            )
    if chosen and "instruction" not in chosen:
        raise ParamError(
            "ingest.columns names no column for the instruction",
            where=PARAMS_FILE,
            fix="Add instruction: NAME, or leave ingest.columns empty: {}.",
        )


def check_duplicate_columns(names: Sequence[str], where: str) -> None:
    """Check that no two columns have the same name.

    Raises:
        DataError: Two columns do; the message gives the first such name.
    """
    duplicate = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if duplicate is not None:
        raise DataError(
            f"two columns are named {duplicate!r}", where=where, fix="Rename or remove one of them."
        )


def list_names(names: Sequence[str]) -> str:
    """Return the names for a message; shorten long names and long lists."""
    shown = [
        escape_surrogates(name if len(name) <= MAX_NAME_CHARS else f"{name[:MAX_NAME_CHARS]}…")
        for name in names[:MAX_NAMES]
    ]
    n_more = len(names) - len(shown)
    return (", ".join(shown) or "none") + (f" and {n_more} more" if n_more else "")


def _check_exist(chosen: Mapping[str, str], names: Sequence[str]) -> Mapping[str, str]:
    for field, column in chosen.items():
        if names and column not in names:
            raise ParamError(
                f"ingest.columns.{field}: the source has no column {column}"
                f"{nearest(column, map(escape_surrogates, names))}",
                where=PARAMS_FILE,
                fix=f"Its columns: {list_names(names)}.",
            )
    return chosen


def _detect(names: Sequence[str]) -> dict[str, str]:
    """Find the columns with common names, in any case, and return them by field."""
    by_plain_name = {name.strip().casefold(): name for name in reversed(names)}
    columns = {}
    for field, common in COMMON_NAMES.items():
        column = next((by_plain_name[name] for name in common if name in by_plain_name), None)
        if column is not None:
            columns[field] = column
    return columns
