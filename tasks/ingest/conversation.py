"""A conversation as one instruction: its first user turn."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tasks.ingest.json_lines import kind
from tasks.ingest.rows import Fault
from tasks.lib.core.drops import IngestDrop

USER = {"user", "human"}
ASSISTANT = {"assistant", "gpt", "model", "bot", "chatgpt"}
SYSTEM = "system"


class Exchange(NamedTuple):
    """What the first user turn says, what the turn after it answers, and what else there was."""

    instruction: object
    output: object
    extra: dict[str, object]


def first_exchange(turns: object) -> Exchange | Fault:
    """The first exchange of a list of turns, each ``{role, content}`` or ``{from, value}``.

    The output is None if no assistant speaks next. `extra` holds ``n_turns``, how many turns there
    are without the system's, and ``system``, what it says first, if it does.
    """
    if turns is None:
        return Fault(IngestDrop.MISSING_INSTRUCTION, "no turns")
    if not isinstance(turns, list):
        return Fault(IngestDrop.NOT_TEXT, f"expected a list of turns, not {kind(turns)}")
    said = []
    for turn in turns:
        if not isinstance(turn, Mapping):
            return Fault(IngestDrop.NOT_TEXT, f"expected a turn to be an object, not {kind(turn)}")
        said.append((_first(turn, "role", "from"), _first(turn, "content", "value")))
    system = [text for role, text in said if role == SYSTEM]
    talk = [(role, text) for role, text in said if role != SYSTEM]
    place = next((i for i, (role, _) in enumerate(talk) if role in USER), None)
    if place is None:
        return Fault(IngestDrop.MISSING_INSTRUCTION, "no turn is the user's")
    role, answer = talk[place + 1] if place + 1 < len(talk) else (None, None)
    extra = {"n_turns": len(talk), **({"system": system[0]} if system else {})}
    return Exchange(talk[place][1], answer if role in ASSISTANT else None, extra)


def _first(turn: Mapping[str, Any], *names: str) -> object:
    return next((turn[name] for name in names if turn.get(name) is not None), None)
