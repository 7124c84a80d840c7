"""Parts of the rows of public pools, and of the records that they become."""

import json
from typing import Any, NamedTuple

Row = dict[str, Any]


class Expected(NamedTuple):
    """The parts of a record; a turn is a pair of its role's first letter and its text."""

    instruction: str
    output: str | None = None
    input: str = ""
    system: str | None = None
    turns: tuple[tuple[str, str], ...] = ()
    tools: Any = None


def short(found: Any) -> Expected:
    turns = tuple((turn["role"][0], turn["content"]) for turn in json.loads(found.turns or "[]"))
    tools = json.loads(found.tools) if found.tools else None
    return Expected(found.instruction, found.output, found.input, found.system, turns, tools)


def said(*parts: str, role: str = "role", content: str = "content") -> list[Row]:
    """Return messages; each part is a role and a text, such as ``user: Q``."""
    pairs = [part.partition(": ") for part in parts]
    return [{role: name, content: text} for name, _, text in pairs]


ONE = ("user: Q", "assistant: A")
TWO = (*ONE, "user: Q2", "assistant: A2")
EARLIER = (("u", "Q"), ("a", "A"))
AFTER_ONE = Expected("Q2", "A2", turns=EARLIER)
CLOCK = [{"name": "clock", "parameters": {"zone": "UTC"}}]
