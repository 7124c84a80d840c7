"""Split a conversation into instructions, each with its context and its answer."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from tasks.ingest.parse_turns import ASSISTANT, SYSTEM, USER, Turn
from tasks.ingest.rows import Fault
from tasks.lib.core.drops import IngestDrop


class Which(StrEnum):
    """Which user turns are instructions."""

    LAST = "last"
    FIRST = "first"
    ALL = "all"
    """Each user turn becomes a separate record."""


class Exchange(NamedTuple):
    """A user turn, the turns before it, and the answer to it.

    Attributes:
        output: None if the turn has no answer.
        earlier: The turns before the instruction, except a system prompt at the beginning.
        later: The turns after the instruction, except the output. With `Which.ALL`, they end before
            the next user turn.
        is_last: Whether this is the last user turn.
    """

    instruction: str
    output: str | None
    system: str | None
    earlier: list[Turn]
    later: list[Turn]
    is_last: bool


def exchanges(turns: Sequence[Turn], which: Which) -> Iterator[Exchange] | Fault:
    """Return the exchanges that `which` selects, in order, or a fault if there are none.

    The last user turn is either an open question or, if all are answered, the turn with the most
    context. Its output is the last text from the assistant before the next user turn. An answer to
    an earlier turn is context, never the output.
    """
    not_blank = [turn for turn in turns if turn.content.strip() or turn.more]
    n_system = next((i for i, turn in enumerate(not_blank) if turn.role != SYSTEM), len(not_blank))
    system = "\n\n".join(turn.content for turn in not_blank[:n_system]) or None
    dialogue = not_blank[n_system:]
    asked = [i for i, turn in enumerate(dialogue) if turn.role == USER]
    if not asked:
        return _nothing_asked(turns)
    chosen = {Which.LAST: asked[-1:], Which.FIRST: asked[:1], Which.ALL: asked}[which]
    ends = dict(zip(asked, [*asked[1:], len(dialogue)], strict=True))
    return _exchanges(dialogue, [(place, ends[place]) for place in chosen], system, which)


def _exchanges(
    dialogue: Sequence[Turn], places: Sequence[tuple[int, int]], system: str | None, which: Which
) -> Iterator[Exchange]:
    """Yield the exchange at each place; `places` also gives the place of the next user turn.

    With `Which.ALL`, the total size of the earlier turns is quadratic, so exchanges are built one
    at a time.
    """
    for place, end in places:
        later = list(dialogue[place + 1 : end])
        answers = [i for i, turn in enumerate(later) if _is_answer(turn)]
        output = later.pop(answers[-1]).content if answers else None
        if which is not Which.ALL:
            later += dialogue[end:]
        is_last, earlier = end == len(dialogue), list(dialogue[:place])
        yield Exchange(dialogue[place].content, output, system, earlier, later, is_last)


def _is_answer(turn: Turn) -> bool:
    return turn.role == ASSISTANT and bool(turn.content.strip())


def _nothing_asked(turns: Sequence[Turn]) -> Fault:
    roles = dict.fromkeys(turn.role for turn in turns)
    if USER in roles:
        return Fault(IngestDrop.BLANK_INSTRUCTION, "no user turn has a visible character")
    detail = f"no user turn; the roles are {', '.join(roles)}" if roles else "no turns"
    return Fault(IngestDrop.MISSING_INSTRUCTION, detail)
