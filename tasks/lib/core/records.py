"""What a record asks: its texts, the id that they give it, and the text that it is compared by.

A record has an instruction, an input, and its context: a system prompt, the turns that come before
the instruction, and the tools that the assistant may call.
"""

import json
import unicodedata
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

LATER_TURNS = "later_turns"
"""The key of ``extra`` for the turns after the instruction that are not its output."""


class RecordTexts(NamedTuple):
    """The texts that make up what a record asks.

    Attributes:
        turns: JSON text of a list of turns, each an object with ``role`` and ``content``; None or
            empty if there are none.
        tools: JSON text; None or empty if there are none.
    """

    instruction: str
    input: str
    system: str | None = None
    turns: str | None = None
    tools: str | None = None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "RecordTexts":
        """Return the texts of a row of the pool."""
        return cls(*(record[name] for name in TEXT_COLUMNS))


TEXT_COLUMNS = list(RecordTexts._fields)
"""The columns of the pool that make up what a record asks."""


def record_id(
    instruction: str,
    input_text: str,
    system: str | None = None,
    turns: str | None = None,
    tools: str | None = None,
) -> str:
    """Return 16 hex digits that depend on the texts alone, not on their file or the machine.

    They are the BLAKE2b hash of the NFC-normalised texts, joined by NULs, which no text contains.
    The context counts only if there is one.
    """
    text = f"{instruction}\0{input_text}"
    if system or turns or tools:
        text = f"{text}\0{system or ''}\0{turns or ''}\0{tools or ''}"
    return blake2b(unicodedata.normalize("NFC", text).encode("utf-8"), digest_size=8).hexdigest()


def record_text(
    instruction: str,
    input_text: str,
    system: str | None = None,
    turns: str | None = None,
    tools: str | None = None,
) -> str:
    """Return the text that records are compared by: the instruction, then its `material`."""
    material_text = material(input_text, system, turns, tools)
    return f"{instruction}\n\n{material_text}" if material_text else instruction


def material(
    input_text: str,
    system: str | None = None,
    turns: str | None = None,
    tools: str | None = None,
) -> str:
    """Return what a record has besides its instruction: its input, then its context.

    An encoder reads only the beginning of a text, so what matters most to the instruction comes
    first: the latest turns, then earlier ones, the system prompt, and the tools.
    """
    if not (system or turns or tools):
        return input_text
    parts = [(turn["role"], turn_text(turn)) for turn in reversed(read_turns(turns))]
    parts += [("system", system or ""), ("tools", tools or "")]
    context = [f"[{role}] {text}" for role, text in parts if text]
    return "\n\n".join([*filter(None, [input_text]), *context])


def read_turns(turns: str | None) -> list[dict[str, Any]]:
    """Return the turns of a record's column ``turns``, the earliest first."""
    parsed: list[dict[str, Any]] = json.loads(turns) if turns else []
    return parsed


def turn_text(turn: Mapping[str, Any]) -> str:
    """Return what a turn says; if it says nothing, the JSON text of what else it holds."""
    if turn["content"]:
        return str(turn["content"])
    rest = {name: value for name, value in turn.items() if name not in {"role", "content"}}
    return json.dumps(rest, ensure_ascii=False, sort_keys=True) if rest else ""
