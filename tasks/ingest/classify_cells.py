"""Classify cells as texts, conversations, lists or others."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from tasks.ingest.parse_turns import ROLE_KEYS, USER, Turn, parse_text, parse_turns, role_in
from tasks.ingest.rows import Fault
from tasks.ingest.speaker_marks import parse_marks

MIN_SHARE = 0.5  # of a column's cells must be of one kind
MIN_LABELS, MIN_REPEATS = 10, 5  # cells in a column of labels, and occurrences of each on average


def most(cells: Iterable[object], is_kind: Callable[[object], bool]) -> bool:
    """Return whether at least half of the non-blank cells are of a kind; False if all are blank."""
    results = [is_kind(cell) for cell in cells if not isinstance(cell, str) or cell.strip()]
    return bool(results) and sum(results) >= MIN_SHARE * len(results)


def turns_of(
    cell: object, *, by_lines: bool = False, are_questions: bool = False
) -> list[Turn] | Fault | None:
    """Return the turns in a cell that is a list or marked text; None if it is neither."""
    turns = parse_turns(cell, are_questions=are_questions)
    if turns is None and isinstance(cell, str):
        turns = parse_marks(cell, by_lines=by_lines)
    return turns


def has_user_turn(turns: list[Turn] | Fault | None) -> bool:
    """Return whether `turns` contains a user turn; a `Fault` counts, since turns were intended."""
    return isinstance(turns, Fault) or any(turn.role == USER for turn in turns or ())


def is_list_of_turns(cell: object) -> bool:
    """Return whether a cell is a conversation in a layout that `parse_turns` knows."""
    return has_user_turn(parse_turns(cell))


def is_list_of_messages(cell: object) -> bool:
    """Return whether a cell is a list of objects with roles, or one object with parallel lists."""
    items = parse_text(cell) if isinstance(cell, str) else cell
    first = items
    while isinstance(first, list) and first:
        first = first[0]
    has_role = isinstance(first, Mapping) and (
        not {*ROLE_KEYS, "is_human", "kwargs"}.isdisjoint(first) or role_in(first) is not None
    )
    return has_role and has_user_turn(parse_turns(items))


def is_list_of_exchanges(cell: object) -> bool:
    """Return whether a cell is a list of objects that contain turns."""
    items = parse_text(cell) if isinstance(cell, str) else cell
    return (
        isinstance(items, list)
        and isinstance((items or [None])[0], Mapping)
        and has_user_turn(parse_turns(items))
    )


def is_list_of_numbers(cell: object) -> bool:
    """Return whether a cell is a list of integers, such as token ids."""
    items = parse_text(cell) if isinstance(cell, str) else cell
    return isinstance(items, list) and all(isinstance(item, int) for item in items)


def is_list_of_texts(cell: object) -> bool:
    """Return whether a cell is a list of texts."""
    items = parse_text(cell) if isinstance(cell, str) else cell
    return isinstance(items, list) and bool(items) and all(isinstance(i, str) for i in items)


def is_plain_text(cell: object) -> bool:
    """Return whether a cell is text, excluding JSON that encodes messages or an object."""
    if not isinstance(cell, str) or is_list_of_messages(cell):
        return False
    return not isinstance(parse_text(cell), Mapping)


def is_prose(cell: object) -> bool:
    """Return whether a cell contains more than one word; a model's name, for example, does not."""
    return isinstance(cell, list | Mapping) or (isinstance(cell, str) and len(cell.split()) > 1)


def are_labels(cells: Sequence[object]) -> bool:
    """Return whether the cells are a few single words that recur, such as class names."""
    words = [cell for cell in cells if isinstance(cell, str) and len(cell.split()) < 2]
    return len(cells) >= MIN_LABELS and len(set(words)) * MIN_REPEATS <= len(cells) == len(words)


def is_list(cell: object) -> bool:
    """Return whether a cell is a list or an object, or the JSON text of one."""
    return isinstance(parse_text(cell) if isinstance(cell, str) else cell, list | Mapping)
