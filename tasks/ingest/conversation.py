"""A conversation as one instruction or more, each with its context and its answer."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from tasks.ingest.rows import Fault
from tasks.ingest.turns import ASSISTANT, SYSTEM, USER, Turn
from tasks.lib.core.drops import IngestDrop


class Which(StrEnum):
    """Which turns of the user's are instructions."""

    LAST = "last"
    FIRST = "first"
    ALL = "all"
    """Each turn gives a record of its own."""


class Exchange(NamedTuple):
    """A turn of the user's, what came before it, and the answer to it.

    Attributes:
        output: None if the turn has no answer.
        earlier: The turns before the instruction, except a system prompt at the beginning.
        later: The turns after the instruction, except the output. If each turn of the user's gives
            a record, up to the next one.
        is_last: Whether the user says no more.
    """

    instruction: str
    output: str | None
    system: str | None
    earlier: list[Turn]
    later: list[Turn]
    is_last: bool


def exchanges(turns: Sequence[Turn], which: Which) -> list[Exchange] | Fault:
    """Return the exchanges that are asked for, in order, or the fault that leaves none.

    The last turn of the user's is either the open question or, if all are answered, the one with
    the most context. Its output is the last text that the assistant says before the user speaks
    again. An answer to an earlier turn is context, never the output.
    """
    said = [turn for turn in turns if turn.content.strip() or turn.more]
    n_system = next((i for i, turn in enumerate(said) if turn.role != SYSTEM), len(said))
    system = "\n\n".join(turn.content for turn in said[:n_system]) or None
    dialogue = said[n_system:]
    asked = [i for i, turn in enumerate(dialogue) if turn.role == USER]
    if not asked:
        return _nothing_asked(turns)
    chosen = {Which.LAST: asked[-1:], Which.FIRST: asked[:1], Which.ALL: asked}[which]
    ends = dict(zip(asked, [*asked[1:], len(dialogue)], strict=True))
    found = []
    for place in chosen:
        later = dialogue[place + 1 : ends[place]]
        answers = [i for i, turn in enumerate(later) if _is_answer(turn)]
        output = later.pop(answers[-1]).content if answers else None
        if which is not Which.ALL:
            later += dialogue[ends[place] :]
        is_last = ends[place] == len(dialogue)
        earlier = dialogue[:place]
        said_now = dialogue[place].content
        found.append(Exchange(said_now, output, system, earlier, later, is_last))
    return found


def _is_answer(turn: Turn) -> bool:
    return turn.role == ASSISTANT and bool(turn.content.strip())


def _nothing_asked(turns: Sequence[Turn]) -> Fault:
    roles = dict.fromkeys(turn.role for turn in turns)
    if USER in roles:
        return Fault(IngestDrop.BLANK_INSTRUCTION, "no turn of the user's has a visible character")
    detail = f"no turn is the user's; the roles are {', '.join(roles)}" if roles else "no turns"
    return Fault(IngestDrop.MISSING_INSTRUCTION, detail)
