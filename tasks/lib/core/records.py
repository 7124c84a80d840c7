"""Define a record's texts and id, and the text by which records are compared.

A record has an instruction, an input, and a context: a system prompt, the turns before the
instruction, and the tools that the assistant may call.
"""

import json
import re
import unicodedata
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

LATER_TURNS = "later_turns"
"""The key in ``extra`` for turns that come after the instruction but are not its output."""

# What data sets put in the input column when there is no input.
_NO_INPUT = re.compile(
    r"no[ _-]?input|no input (?:required|needed|provided)|n/a|none|null|nan|not applicable",
    re.IGNORECASE,
)
_MAX_NO_INPUT_CHARS = 30
_AROUND = " .,?<>[](){}\"'`\\"


class RecordTexts(NamedTuple):
    """The texts that identify a record.

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
        """Return the texts of one pool row."""
        return cls(*(record[name] for name in TEXT_COLUMNS))


TEXT_COLUMNS = list(RecordTexts._fields)
"""The pool columns with the texts that identify a record."""


def says_no_input(text: str) -> bool:
    """Return whether an input merely says that there is none, such as ``<noinput>``."""
    if len(text) > _MAX_NO_INPUT_CHARS:
        return False
    return _NO_INPUT.fullmatch(text.strip(_AROUND)) is not None


def record_id(
    instruction: str,
    input_text: str,
    system: str | None = None,
    turns: str | None = None,
    tools: str | None = None,
) -> str:
    """Return 16 hex digits that depend on the texts alone, not on their file or the machine.

    This is the BLAKE2b hash of the NFC-normalised texts, joined by NULs, which no text contains.
    An empty context is not part of the hash.
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
    """Return the text by which records are compared: the instruction, then the `material`."""
    material_text = material(input_text, system, turns, tools)
    return f"{instruction}\n\n{material_text}" if material_text else instruction


def material(
    input_text: str,
    system: str | None = None,
    turns: str | None = None,
    tools: str | None = None,
) -> str:
    """Return all texts of a record except its instruction: its input, then its context.

    An encoder reads only the beginning of a text, so the texts that matter most come first: the
    latest turns, then earlier turns, the system prompt, and the tools.
    """
    if not (system or turns or tools):
        return input_text
    parts = [(turn["role"], turn_text(turn)) for turn in reversed(read_turns(turns))]
    parts += [("system", system or ""), ("tools", tools or "")]
    context = [f"[{role}] {text}" for role, text in parts if text]
    return "\n\n".join([*filter(None, [input_text]), *context])


def read_turns(turns: str | None) -> list[dict[str, Any]]:
    """Return the turns in a record's ``turns`` column, the earliest first."""
    parsed: list[dict[str, Any]] = json.loads(turns) if turns else []
    return parsed


def turn_text(turn: Mapping[str, Any]) -> str:
    """Return the content of a turn or, if it is empty, the turn's other values as JSON text."""
    if turn["content"]:
        return str(turn["content"])
    rest = {name: value for name, value in turn.items() if name not in {"role", "content"}}
    return json.dumps(rest, ensure_ascii=False, sort_keys=True) if rest else ""
