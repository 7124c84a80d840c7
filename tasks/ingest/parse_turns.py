"""Parse a conversation in any known layout into turns.

Known layouts: messages with a role and content under any of their usual names; objects with a
question and its answer; pairs of a question and its answer; alternating texts; an object with
parallel lists; and each of these as JSON or Python source.
"""

import ast
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tasks.ingest.message_parts import content_text, kind_of
from tasks.ingest.rows import Fault

USER, ASSISTANT, SYSTEM, TOOL = "user", "assistant", "system", "tool"
_ALIASES = {
    USER: "user human prompter usr client customer instruction question query",
    ASSISTANT: "assistant gpt bot model ai chatgpt chatbot moss agent response answer output",
    SYSTEM: "system developer",
    TOOL: "tool function observation ipython tool_response function_response environment",
}
ROLES = {alias: role for role, aliases in _ALIASES.items() for alias in aliases.split()}
ROLES |= {"function_call": ASSISTANT, "tool_call": ASSISTANT, "function_call_output": TOOL}
CALLS = {"function_call", "function_call_output"}  # items in OpenAI's Responses API
NOT_SAID = {"reasoning"}
_SIDES = {0: USER, 1: ASSISTANT, "q": USER, "a": ASSISTANT}  # as numbers and letters

ROLE_KEYS = ("role", "from", "speaker", "author", "sender")
_CONTENT_KEYS = (
    *("content", "value", "text", "message", "parts", "utterance", "body"),
    *("refusal", "data"),
)
_ASK_KEYS = (
    *("human", "user", "input", "question", "prompt", "instruction", "query", "q"),
    *("user utterance", "input_text"),
)
_ANSWER_KEYS = (
    *("assistant", "gpt", "bot", "moss", "output", "answer", "response", "completion", "a"),
    "system response",
)
_MORE_KEYS = ("name", "tool_calls", "tool_call_id", "function_call", "call_id", "arguments")
MAX_PYTHON_CHARS = 1_000_000  # of Python syntax; parsing takes a hundred times its size in memory
_NUMPY_GAP = re.compile(r"\}\s+\{")  # between objects, where NumPy prints an array


class Turn(NamedTuple):
    """One turn of a conversation.

    Attributes:
        role: user, assistant, system, tool, or another name in lower case.
        more: The name of the speaker, tool calls, and the id of the call that the turn answers.
    """

    role: str
    content: str
    more: Mapping[str, Any] = {}

    def as_dict(self) -> dict[str, Any]:
        """Return the turn as an object for JSON."""
        return {"role": self.role, "content": self.content, **self.more}


def parse_turns(value: object, *, are_questions: bool = False) -> list[Turn] | Fault | None:
    """Return the turns in a value, or None if it has no known layout.

    Args:
        value: The cell. Text is parsed if it is JSON, or a list printed by Python or NumPy.
        are_questions: Whether texts in a list are user turns only, rather than alternating sides.
    """
    if isinstance(value, str):
        value = parse_text(value)
    if isinstance(value, Mapping):
        value = _items(value)
    if not isinstance(value, list | tuple):
        return None
    if value and all(isinstance(items, list) and _is_message_like(items) for items in value):
        value = [item for items in value for item in items]  # split into steps, or a batch of one
    turns: list[Turn] = []
    for place, item in enumerate(value):
        parsed = _parse_item(item, USER if are_questions or place % 2 == 0 else ASSISTANT)
        if parsed is None or isinstance(parsed, Fault):
            return parsed
        turns += parsed
    is_api = any(isinstance(item, Mapping) and "role" in item for item in value)
    return _with_both_sides(turns, is_api=is_api)


def _is_message_like(items: Sequence[object]) -> bool:
    return bool(items) and all(isinstance(item, Mapping) for item in items)


def _with_both_sides(turns: list[Turn], *, is_api: bool) -> list[Turn]:
    """Return the turns; if exactly one role is unknown, it becomes the missing side.

    If there are no answers, system turns become answers: dialogue corpora call the assistant
    "system". With `is_api`, they do not: in an API's messages, a system prompt may occur anywhere.
    """
    roles = [turn.role for turn in turns]
    others = {role for role in roles if role not in _ALIASES}
    new: dict[str, str] = {}
    if len(others) == 1 and (USER in roles) != (ASSISTANT in roles):
        new = {others.pop(): ASSISTANT if USER in roles else USER}
    elif not is_api and USER in roles and not others | {ASSISTANT, TOOL}.intersection(roles):
        new = {SYSTEM: ASSISTANT} if SYSTEM in roles[roles.index(USER) :] else {}
    start = roles.index(USER) if SYSTEM in new else 0
    return turns[:start] + [
        turn._replace(role=new.get(turn.role, turn.role)) for turn in turns[start:]
    ]


def parse_text(text: str) -> object:
    """Return the list or object that a text represents in JSON or Python syntax, or None."""
    text = text.strip()
    if not text or text[0] + text[-1] not in {"[]", "{}"}:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if len(text) > MAX_PYTHON_CHARS:
        return None
    try:
        with warnings.catch_warnings(action="ignore"):  # about unrecognised escapes
            value = ast.literal_eval(_NUMPY_GAP.sub("}, {", text))
        return json.loads(json.dumps(value))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def role_of(name: object) -> str:
    """Return the role that a name refers to; it may be an alias, and its case is ignored."""
    plain = str(name).strip().casefold().replace(" ", "_")
    return ROLES.get(plain, plain)


def _items(value: Mapping[str, Any]) -> object:
    """Return the items of an object with parallel lists or numbered turns, or the object itself."""
    lists = {key: cell for key, cell in value.items() if isinstance(cell, list | tuple)}
    if _first(lists, ROLE_KEYS) is not None and _first(lists, _CONTENT_KEYS) is not None:
        n = min(map(len, lists.values()))
        return [{key: cell[i] for key, cell in lists.items()} for i in range(n)]
    if value and all(isinstance(cell, Mapping) for cell in value.values()):
        return list(value.values())
    if _first(value, ("messages", "conversations", "conversation")) is not None:
        return _first(value, ("messages", "conversations", "conversation"))
    return [value] if role_in(value) is not None or "kwargs" in value else value


def _parse_item(item: object, side: str) -> list[Turn] | Fault | None:
    """Return the turns in an item of a list, or None; text without a role is a turn of `side`."""
    if isinstance(item, str):
        return _turns((side, item))
    if isinstance(item, list | tuple):
        return _parse_pair(item)
    if not isinstance(item, Mapping):
        return None
    inner = item.get("kwargs", item["message"] if item.keys() == {"message"} else None)
    item = inner if isinstance(inner, Mapping) else item  # from LangChain or OpenInference
    if kind_of(item) in NOT_SAID:
        return []
    role = role_in(item)
    if isinstance(role, Mapping):  # {"author": {"role": ...}}
        role = _first(role, ROLE_KEYS)
    if role is None and isinstance(item.get("is_human"), bool):
        role = USER if item["is_human"] else ASSISTANT
    return _parse_exchange(item) if role is None else _parse_message(item, role)


def role_in(item: Mapping[str, Any]) -> object:
    """Return a message's role as written, or None; ``type`` counts if its value is a role."""
    role = _first(item, ROLE_KEYS)
    kind = kind_of(item)
    return kind if role is None and kind.casefold() in ROLES else role


def _parse_message(item: Mapping[str, Any], role: object) -> list[Turn] | Fault | None:
    if isinstance(role, str | int | float):
        role = _SIDES.get(role.casefold() if isinstance(role, str) else role, role)
    is_call = kind_of(item) in CALLS
    if not isinstance(role, str) or (
        {"role", "from", *_CONTENT_KEYS}.isdisjoint(item) and not is_call
    ):
        return None
    said = item.get("output") if is_call else _first(item, _CONTENT_KEYS)
    content = content_text(said)
    more = {key: item[key] for key in _MORE_KEYS if item.get(key)}
    name = TOOL if _is_result(said) else role_of(role)
    return content if isinstance(content, Fault) else [Turn(name, content, more)]


def _is_result(content: object) -> bool:
    """Return whether content consists only of tool results, which may be sent as a user turn."""
    parts = content if isinstance(content, list) else []
    kinds = {kind_of(part) if isinstance(part, Mapping) else "" for part in parts}
    return kinds == {"tool_result"}


def _parse_exchange(item: Mapping[str, Any]) -> list[Turn] | Fault | None:
    """Return the turns in an object with a question and, optionally, its answer."""
    cells = {str(key).casefold(): cell for key, cell in item.items()}
    is_answer = len(cells) == 1 and ROLES.get(next(iter(cells))) == ASSISTANT
    if not is_answer and cells.keys().isdisjoint(_ASK_KEYS):
        return None
    system, ask, answer = (_first(cells, keys) for keys in (("system",), _ASK_KEYS, _ANSWER_KEYS))
    return _turns((SYSTEM, system), (USER, ask), (ASSISTANT, answer))


def _parse_pair(pair: Sequence[object]) -> list[Turn] | Fault | None:
    """Return the turns in a pair of a question and its answer, or of a role and its text."""
    if len(pair) != 2 or not all(isinstance(text, str | None) for text in pair):
        return None
    first, second = pair
    if isinstance(first, str) and first.casefold() in ROLES:
        return _turns((role_of(first), second))
    return _turns((USER, first), (ASSISTANT, second))


def _turns(*parts: tuple[str, object]) -> list[Turn] | Fault:
    turns = []
    for role, value in parts:
        text = content_text(value)
        if isinstance(text, Fault):
            return text
        if value is not None:
            turns.append(Turn(role, text))
    return turns


def _first(cells: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((cells[name] for name in names if cells.get(name) is not None), None)
