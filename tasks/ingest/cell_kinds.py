"""What the cells of a column are: texts, conversations, lists or something else."""

from collections.abc import Callable, Iterable, Mapping

from tasks.ingest.marks import parse_marks
from tasks.ingest.rows import Fault
from tasks.ingest.turns import ROLE_KEYS, USER, Turn, parse_text, parse_turns

MIN_SHARE = 0.5  # of a column's cells that are of the kind that is sought


def most(cells: Iterable[object], is_one: Callable[[object], bool]) -> bool:
    """Return whether most cells that are not blank are of one kind; False if there is none."""
    results = [is_one(cell) for cell in cells if not isinstance(cell, str) or cell.strip()]
    return bool(results) and sum(results) >= MIN_SHARE * len(results)


def turns_of(cell: object, *, by_lines: bool = False) -> list[Turn] | Fault | None:
    """Return the turns of a cell, as a list or as a marked text; None if it has none."""
    turns = parse_turns(cell)
    if turns is None and isinstance(cell, str):
        turns = parse_marks(cell, by_lines=by_lines)
    return turns


def asks(turns: list[Turn] | Fault | None) -> bool:
    """Return whether turns have one of the user's, or were meant to be turns."""
    return isinstance(turns, Fault) or any(turn.role == USER for turn in turns or ())


def is_list_of_turns(cell: object) -> bool:
    """Return whether a cell is a conversation as `parse_turns` knows it."""
    return asks(parse_turns(cell))


def is_list_of_messages(cell: object) -> bool:
    """Return whether a cell is a list of objects with a role, or an object of lists of them."""
    items = parse_text(cell) if isinstance(cell, str) else cell
    first = items[0] if isinstance(items, list) and items else items
    has_role = isinstance(first, Mapping) and not {*ROLE_KEYS, "is_human"}.isdisjoint(first)
    return has_role and asks(parse_turns(items))


def is_list_of_exchanges(cell: object) -> bool:
    """Return whether a cell is a list of objects with turns."""
    items = parse_text(cell) if isinstance(cell, str) else cell
    return (
        isinstance(items, list)
        and isinstance((items or [None])[0], Mapping)
        and asks(parse_turns(items))
    )


def is_list_of_numbers(cell: object) -> bool:
    """Return whether a cell is a list of integers, such as tokens."""
    items = parse_text(cell) if isinstance(cell, str) else cell
    return isinstance(items, list) and all(isinstance(item, int) for item in items)


def is_plain_text(cell: object) -> bool:
    """Return whether a cell is a text that is neither messages nor an object."""
    if not isinstance(cell, str) or is_list_of_messages(cell):
        return False
    return not isinstance(parse_text(cell), Mapping)


def is_prose(cell: object) -> bool:
    """Return whether a cell is several words, which a name of a model or a system is not."""
    return isinstance(cell, list | Mapping) or (isinstance(cell, str) and len(cell.split()) > 1)


def is_list(cell: object) -> bool:
    """Return whether a cell is a list or an object, also as JSON text."""
    return isinstance(parse_text(cell) if isinstance(cell, str) else cell, list | Mapping)
