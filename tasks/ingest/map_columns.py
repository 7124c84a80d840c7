"""Map the columns of a file to the fields of a record, and read their cells."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tasks.ingest import reshape_hints
from tasks.ingest.column_warnings import warn
from tasks.ingest.detect_columns import (
    QUESTIONS,
    Found,
    detect,
    found_in,
    plain_name,
)
from tasks.ingest.encoding import escape_surrogates
from tasks.ingest.first_cells import N_CELLS
from tasks.ingest.parse_turns import parse_text
from tasks.ingest.question_lists import CHOICES
from tasks.ingest.rows import Row
from tasks.ingest.suggest_column import guess
from tasks.lib.core.errors import DataError, ParamError, nearest
from tasks.lib.core.params import PARAMS_FILE

FIELDS = ("instruction", "input", "output", "system", "turns", "tools")
MEDIA = {"image", "images", "audio", "audios", "video", "videos"}
SAMPLE_ROWS = 1000  # optional columns may be absent from the first rows of JSON lines
MAX_NAMES = 20  # columns in a message
MAX_NAME_CHARS = 40  # without a header line, a "name" is a whole text


class ColumnMapping(NamedTuple):
    """The column of each field in the file; there is always one for the instruction.

    Attributes:
        columns: A name with dots may be a path inside objects, such as ``data.prompt``.
        is_chat: Whether the instruction column holds lists of turns.
        has_lines: Whether lines such as ``Human:`` mark turns in the instruction column.
        are_questions: Whether lists of texts in the instruction column hold user turns only, rather
            than turns from alternating sides.
        has_paths: Whether any column is inside an object.
        is_plain: Whether no column holds a conversation or other context.
        media: The columns with images, audio and video.
        choices: The column with the choices of a question, which belong to its input.
    """

    columns: Mapping[str, str]
    is_chat: bool = False
    has_lines: bool = False
    are_questions: bool = False
    has_paths: bool = False
    is_plain: bool = True
    media: tuple[str, ...] = ()
    choices: str | None = None


SAME_NAMES = ColumnMapping({field: field for field in FIELDS[:3]})


def map_columns(rows: Sequence[Row], chosen: Mapping[str, str], where: str) -> ColumnMapping:
    """Return the mapping for a file that starts with `rows`.

    Only the columns in `chosen` are used. If it is empty, `detect` finds the columns.

    Raises:
        ParamError: A chosen column is missing from all rows.
        DataError: No column is chosen, and no column with a common name holds instructions.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns, is_chat, has_lines = _choose(rows, chosen, names) if chosen else detect(rows)
    if "instruction" not in columns:
        column = guess(rows)
        raise DataError(
            f"found no column with instructions; the columns are {list_names(names)}",
            where=where,
            fix=reshape_hints.choose(rows, names, choose_column(column) if column else None),
        )
    warn(rows, columns, is_chat=is_chat)
    return ColumnMapping(
        columns,
        is_chat=is_chat,
        has_lines=has_lines,
        are_questions=plain_name(columns["instruction"]) in QUESTIONS,
        has_paths=any(column not in names for column in columns.values()),
        media=tuple(name for name in names if _is_media(name, rows)),
        choices=None
        if is_chat or chosen
        else next((name for name in names if plain_name(name) in CHOICES), None),
        is_plain=not (is_chat or has_lines or {"system", "turns", "tools"} & columns.keys()),
    )


def read_cell(row: Row, column: str) -> Any:
    """Return the cell at a column name, or at a path inside objects; None if there is no cell."""
    if column in row or "." not in column:
        return row.get(column)
    head, _, rest = column.partition(".")
    inner = row.get(head)
    if isinstance(inner, str):
        inner = parse_text(inner)
    return read_cell(inner, rest) if isinstance(inner, Mapping) else None


def other_cells(row: Row, mapping: ColumnMapping) -> dict[str, Any]:
    """Return the cells that belong to no field, including the unused parts of objects."""
    taken = set(mapping.columns.values())
    if not mapping.has_paths:
        return {name: cell for name, cell in row.items() if name not in taken}
    return _without(row, taken)


def _without(row: Row, paths: set[str]) -> dict[str, Any]:
    others = {}
    for name, cell in row.items():
        inner_paths = {
            path.removeprefix(f"{name}.") for path in paths if path.startswith(f"{name}.")
        }
        inner = parse_text(cell) if inner_paths and isinstance(cell, str) else cell
        if name in paths:
            continue
        others[name] = (
            _without(inner, inner_paths) if inner_paths and isinstance(inner, Mapping) else cell
        )
    return others


def check_chosen_columns(chosen: Mapping[str, str]) -> None:
    """Check ``ingest.columns``, without reading the file.

    Raises:
        ParamError: A field is unknown, or the instruction has no column.
    """
    for field in chosen:
        if field not in FIELDS:
            raise ParamError(
                f"ingest.columns.{field} is unknown{nearest(field, FIELDS)}",
                where=PARAMS_FILE,
                fix=f"Use one of: {', '.join(FIELDS)}.",
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
        DataError: Two columns have the same name; the message includes it.
    """
    if len(set(names)) < len(names):
        duplicate = next(name for i, name in enumerate(names) if name in names[:i])
        raise DataError(
            f"two columns are named {duplicate!r}", where=where, fix="Rename or remove one of them."
        )


def choose_column(column: str) -> str:
    """Return the override that makes a column the instruction column."""
    is_plain = all(char.isalnum() or char in "_." for char in column)
    name = column if is_plain else json.dumps(column, ensure_ascii=False)
    return f"-S 'ingest.columns={{instruction: {name}}}'"


def list_names(names: Sequence[str]) -> str:
    """Return the names as text for a message; shorten long names and long lists."""
    shown = [
        escape_surrogates(name if len(name) <= MAX_NAME_CHARS else f"{name[:MAX_NAME_CHARS]}…")
        for name in names[:MAX_NAMES]
    ]
    n_more = len(names) - len(shown)
    return (", ".join(shown) or "none") + (f" and {n_more} more" if n_more else "")


def _is_media(name: str, rows: Sequence[Row]) -> bool:
    """Return whether a column contains images or other media, judging by its name and cells."""
    cells = (row.get(name) for row in rows[:N_CELLS])
    return plain_name(name) in MEDIA or any(
        isinstance(cell, Mapping) and {"bytes", "path"} <= cell.keys() for cell in cells
    )


def _choose(rows: Sequence[Row], chosen: Mapping[str, str], names: Sequence[str]) -> Found:
    """Return the chosen columns, after checking that the file has them."""
    first = next(iter(rows), {})
    for field, column in chosen.items():
        is_path = any(read_cell(row, column) is not None for row in rows)
        if names and column not in names and not is_path:
            inner = [f"{name}.{key}" for name, cell in first.items() for key in _keys(cell)]
            raise ParamError(
                f"ingest.columns.{field}: the source has no column {column}"
                f"{nearest(column, map(escape_surrogates, [*names, *inner]))}",
                where=PARAMS_FILE,
                fix=f"Choose from its columns: {list_names(names)}.",
            )
    cells = [read_cell(row, chosen["instruction"]) for row in rows[:N_CELLS]]
    return found_in(dict(chosen), cells)


def _keys(cell: object) -> list[str]:
    inner = parse_text(cell) if isinstance(cell, str) else cell
    return [str(key) for key in inner] if isinstance(inner, Mapping) else []
