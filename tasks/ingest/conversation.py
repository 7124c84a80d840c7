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
        later: The turns after the instruction, except the output.
    """

    instruction: str
    output: str | None
    system: str | None
    earlier: list[Turn]
    later: list[Turn]


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
    return [_exchange(dialogue, place, system) for place in chosen]


def _exchange(dialogue: Sequence[Turn], place: int, system: str | None) -> Exchange:
    later = list(dialogue[place + 1 :])
    until = next((i for i, turn in enumerate(later) if turn.role == USER), len(later))
    answers = [i for i, turn in enumerate(later[:until]) if turn.role == ASSISTANT]
    answers = [i for i in answers if later[i].content.strip()]
    output = later.pop(answers[-1]).content if answers else None
    return Exchange(dialogue[place].content, output, system, list(dialogue[:place]), later)


def _nothing_asked(turns: Sequence[Turn]) -> Fault:
    roles = dict.fromkeys(turn.role for turn in turns)
    if USER in roles:
        return Fault(IngestDrop.BLANK_INSTRUCTION, "no turn of the user's has a visible character")
    detail = f"no turn is the user's; the roles are {', '.join(roles)}" if roles else "no turns"
    return Fault(IngestDrop.MISSING_INSTRUCTION, detail)
