"""A conversation as one instruction: its first user turn."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tasks.ingest.rows import Fault, json_type
from tasks.lib.core.drops import IngestDrop

USER = {"user", "human"}
ASSISTANT = {"assistant", "gpt", "model", "bot", "chatgpt"}
SYSTEM = "system"


class Exchange(NamedTuple):
    """The first user turn of a conversation, the answer to it, and facts about the rest."""

    instruction: object
    output: object
    extra: dict[str, object]


def first_exchange(turns: object) -> Exchange | Fault:
    """Return the first exchange of a list of turns, each ``{role, content}`` or ``{from, value}``.

    The output is None if the next turn is not the assistant's. `extra` holds ``n_turns``, the
    number of turns without those of the system, and ``system``, its first text, if there is one.
    """
    if turns is None:
        return Fault(IngestDrop.MISSING_INSTRUCTION, "no turns")
    if not isinstance(turns, list):
        return Fault(IngestDrop.NOT_TEXT, f"expected a list of turns, not {json_type(turns)}")
    messages = []
    for turn in turns:
        if not isinstance(turn, Mapping):
            detail = f"expected a turn to be an object, not {json_type(turn)}"
            return Fault(IngestDrop.NOT_TEXT, detail)
        messages.append((_first(turn, "role", "from"), _first(turn, "content", "value")))
    system = [text for role, text in messages if role == SYSTEM]
    dialogue = [(role, text) for role, text in messages if role != SYSTEM]
    start = next((i for i, (role, _) in enumerate(dialogue) if role in USER), None)
    if start is None:
        return Fault(IngestDrop.MISSING_INSTRUCTION, "no turn is the user's")
    role, answer = dialogue[start + 1] if start + 1 < len(dialogue) else (None, None)
    extra = {"n_turns": len(dialogue), **({"system": system[0]} if system else {})}
    return Exchange(dialogue[start][1], answer if role in ASSISTANT else None, extra)


def _first(turn: Mapping[str, Any], *names: str) -> object:
    return next((turn[name] for name in names if turn.get(name) is not None), None)
