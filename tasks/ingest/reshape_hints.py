"""Suggest commands that reshape a file if its rows are not where a reader expects them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tasks.ingest.detect_columns import NAMES, detect, plain_name
from tasks.ingest.encoding import escape_surrogates
from tasks.ingest.rows import Row
from tasks.ingest.suggest_column import guess
from tasks.lib.core.errors import DataError

MAX_DEPTH = 3  # of lists of rows inside rows
HEADER_WORDS = 3  # of a "name" that is the first row of a table without a header
NO_COLUMN = "Set ingest.source to a file with a column of texts or conversations."
QUESTIONS = NAMES["instruction"][:10]  # not "text" and the like, which may also name answers
# pandas tables: by column, and as a list of names with lists of cells.
BY_COLUMN = (
    "[to_entries[] | .key as $k | .value | to_entries | map({($k): .value})] | transpose[] | add"
)
SPLIT = ".columns as $c | .data[] | [$c, .] | transpose | map({(.[0]): .[1]}) | add"


def jq(program: str) -> str:
    """Return the command that runs a jq program on a file and writes the resulting rows."""
    return f"`jq -c '{program}' OLD > NEW.jsonl`"


def choose(rows: Sequence[Row], names: Sequence[str], command: str | None) -> str:
    """Return what to do if no column is recognised as the one with the instructions.

    Args:
        rows: The first rows of the file.
        names: The columns of these rows.
        command: The override that chooses the most likely column; None if there is none.
    """
    inner = _inner_rows(rows)
    if inner:
        return (
            f"The questions are in {'[].'.join(inner)}[]; write one row for each question:\n"
            f"  {_unnest(inner)}"
        )
    column = guess(rows)
    if column is None or command is None:
        return NO_COLUMN
    named = f"Name the column, for example: {command}"
    mark = re.search(r"[^\w\s./-]", names[0]) if len(names) == 1 else None
    if any(map(_is_text, names)):
        header = ",".join(["instruction", *(f"column_{i}" for i in range(2, len(names) + 1))])
        return (
            f"If the first line does not name the columns, add a line that does, such as {header}, "
            f"and remove all lines before it.\n  If it does: {named}"
        )
    if mark:
        delimiter = f"-S 'ingest.table={{delimiter: \"{mark[0]}\"}}'"
        return f"If {mark[0]} separates the cells: {delimiter}.\n  If not: {named}"
    return named


def check_one_row(row: Row, where: str) -> None:
    """Check that the only row of a file is not a whole table.

    Raises:
        DataError: It is a whole table; the message gives a command that writes the table's rows.
    """
    command = reshape(row)
    if command:
        keys = ", ".join(escape_surrogates(str(key)) for key in list(row)[:3])
        raise DataError(
            f"the file is one object that contains a whole table; its keys are {keys} …",
            where=where,
            fix=f"Write a line for each row: {command}.",
        )


def reshape(value: Mapping[str, Any]) -> str | None:
    """Return the command that extracts the rows of a table in one object; None for a single row."""
    cells = list(value.values())
    if {"columns", "data"} <= value.keys():
        return jq(SPLIT)
    if len(cells) < 2:
        return None
    is_by_column = any(plain_name(str(key)) in NAMES["instruction"] for key in value)
    if all(isinstance(cell, Mapping) for cell in cells):
        if len({frozenset(cell) for cell in cells}) > 1:
            return None
        inner = _inner_rows(cells)
        return jq(BY_COLUMN) if is_by_column else _unnest(inner) if inner else jq(".[]")
    are_columns = all(isinstance(cell, list) for cell in cells) and not any(
        isinstance(item, Mapping) for cell in cells for item in cell
    )
    is_even = are_columns and len(set(map(len, cells))) == 1
    return jq(BY_COLUMN) if is_by_column and is_even else None


def _is_text(name: str) -> bool:
    return len(name.split()) >= HEADER_WORDS or name.startswith("#")


def _inner_rows(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the path to lists of question rows nested inside rows, or () if there are none."""
    level: list[tuple[tuple[str, ...], list[Row]]] = [((), list(rows[:50]))]
    for _ in range(MAX_DEPTH):
        level = [found for path, inner in level for found in _lists(path, inner)]
        for path, inner in level:
            found = detect(inner)
            if plain_name(found.columns.get("instruction", "")) in QUESTIONS:
                return path
    return ()


def _lists(path: tuple[str, ...], rows: Sequence[Row]) -> list[tuple[tuple[str, ...], list[Row]]]:
    """Return the lists of objects in the cells of rows, each with its path."""
    lists: dict[str, list[Row]] = {}
    for row in rows:
        for name, cell in row.items():
            if isinstance(cell, list):
                lists.setdefault(name, []).extend(i for i in cell if isinstance(i, Mapping))
    return [((*path, name), inner) for name, inner in lists.items() if inner]


def _unnest(path: tuple[str, ...]) -> str:
    """Return the command that writes each inner row together with the cells of its outer rows."""
    merged = " | ".join(f". + .{name}[]" for name in path)
    removed = ", ".join(f".{name}" for name in path)
    return jq(f'.. | objects | select(has("{path[0]}")) | {merged} | del({removed})')
