"""Join messages that are separate rows, or nodes of a tree, into conversations.

Known layouts: one message per row, with its own and its parent's id or with the conversation's id;
one question with its answer per row, with the conversation's id and the position in it; and one
tree per row, as in the exports of OpenAssistant and ChatGPT.
"""

import math
from collections.abc import Container, Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from tasks.ingest.cell_text import as_text
from tasks.ingest.column_warnings import THREADS, recurs
from tasks.ingest.detect_columns import detect, plain_name
from tasks.ingest.first_cells import names_of
from tasks.ingest.map_columns import ColumnMapping
from tasks.ingest.parse_turns import ASSISTANT, ROLES, SYSTEM, USER, role_of
from tasks.ingest.rows import Fault, Row, Rows
from tasks.lib.core.errors import DataError

ROLE_NAMES = ("role", "from", "speaker", "author", "sender")
TEXT_NAMES = ("text", "content", "message", "value", "body")
ID_NAMES = ("message_id", "id", "msg_id")
PARENT_NAMES = ("parent_id", "parent_message_id", "parent", "reply_to")
PLACE_NAMES = ("t_id", "turn_id", "turn", "turn_idx", "turn_index", "turn_number")
NODE_CELLS = {"role", "text", "replies", "author", "content"}
MESSAGES = "messages"
MAPPING = ColumnMapping({"instruction": MESSAGES}, is_chat=True, is_plain=False)


class Links(NamedTuple):
    """The names of the columns with a message's parts; `parent` or `thread` links the rows."""

    role: str
    text: str
    id: str | None
    parent: str | None
    thread: str | None


class Exchanges(NamedTuple):
    """The columns if each row is a question with its answer, as part of a thread."""

    thread: str
    columns: Mapping[str, str]


class Message(NamedTuple):
    """A message, with its row number, its other cells, and its parent's key."""

    line: int
    role: str
    text: object
    cells: Mapping[str, Any]
    parent: Hashable


def find_links(rows: Sequence[Row], excluded: Container[str], where: str) -> Links | None:
    """Return how the rows are linked, or None if they are not single messages.

    Args:
        rows: The first rows of the file.
        excluded: The columns in ``ingest.exclude``. If the role column is one of them, messages
            without links are separate records.
        where: The file, for errors.

    Raises:
        DataError: The rows are messages from both sides, but no column links them.
    """
    names = {str(name).casefold(): name for name in names_of(rows)}

    def find(known: Sequence[str]) -> str | None:
        return next((names[name] for name in known if name in names), None)

    role, text = find(ROLE_NAMES), find(TEXT_NAMES)
    if role is None or text is None:
        return None
    said = {str(row.get(role)).strip().casefold() for row in rows if row.get(role) is not None}
    if not {USER, ASSISTANT} <= {role_of(name) for name in said} or not said <= ROLES.keys():
        return None
    links = Links(role, text, find(ID_NAMES), find(PARENT_NAMES), find(THREADS))
    if (links.id and links.parent) or links.thread:
        return links
    if role in excluded:
        return None
    others = ", ".join(sorted(name for name in said if role_of(name) != USER))
    raise DataError(
        f"each row is one message (the values of {role} are {', '.join(sorted(said))}), but no "
        "column says which messages belong together",
        where=where,
        fix=f"Add the column {THREADS[0]}, or keep only the user's messages with\n"
        f"  -S 'ingest.exclude={{{role}: [{others}]}}'",
    )


def find_exchanges(rows: Sequence[Row]) -> Exchanges | None:
    """Return how rows are linked if each is a question with its answer; otherwise None.

    The rows must contain the id of their conversation and their position in it.
    """
    names = {plain_name(name): name for name in names_of(rows)}
    thread = next((names[name] for name in THREADS if name in names), None)
    if thread is None or names.keys().isdisjoint(PLACE_NAMES) or not recurs(thread, rows):
        return None
    columns, is_chat, has_lines = detect(rows)
    is_plain = not (is_chat or has_lines) and {"instruction", "output"} <= columns.keys()
    return Exchanges(thread, columns) if is_plain else None


def from_exchanges(rows: Rows, links: Exchanges) -> Rows:
    """Yield a conversation for each thread, with the number and other columns of its last row.

    The rows of a thread must be in order. All rows are kept in memory.
    """
    taken = {links.columns[field] for field in ("instruction", "output")}
    system = links.columns.get("system", "")
    threads: dict[str, list[dict[str, Any]]] = {}
    last: dict[str, tuple[int, Row]] = {}
    for line, row in rows:
        if isinstance(row, Fault):
            yield line, row
            continue
        thread = str(row.get(links.thread))
        turns = threads.setdefault(thread, [])
        if not turns and row.get(system):
            turns.append({"role": SYSTEM, "content": row[system]})
        for role, field in ((USER, "instruction"), (ASSISTANT, "output")):
            turns.append({"role": role, "content": as_text(row.get(links.columns[field])) or ""})
        last[thread] = line, row
    for thread, (line, row) in last.items():
        others = {name: cell for name, cell in row.items() if name not in {*taken, system}}
        yield line, {**others, MESSAGES: threads[thread]}


def is_tree(row: Row) -> bool:
    """Return whether a row is a tree of messages."""
    return bool(_nodes(row))


def from_messages(rows: Rows, links: Links) -> Rows:
    """Yield a conversation for each user message that is not followed by another user message.

    The conversation's row number and other columns are those of that message. All rows are kept in
    memory.
    """
    messages: dict[Hashable, Message] = {}
    last: dict[object, Hashable] = {}  # the key of the last message of each conversation
    for line, row in rows:
        if isinstance(row, Fault):
            yield line, row
            continue
        key: Hashable = ("row", line)
        parent: Hashable = None
        if links.id and links.parent:
            key, parent = as_text(row.get(links.id)), as_text(row.get(links.parent)) or None
        else:
            thread = str(row.get(str(links.thread)))
            parent, last[thread] = last.get(thread), key
        others = {name: cell for name, cell in row.items() if name not in links[:2]}
        role, text = role_of(row.get(links.role)), row.get(links.text)
        messages[key] = Message(line, role, text, others, parent)
    yield from _conversations(messages)


def from_trees(rows: Rows) -> Rows:
    """Yield the conversations of each row that is a tree; yield other rows unchanged."""
    for line, row in rows:
        if isinstance(row, Fault) or not is_tree(row):
            yield line, row
            continue
        others = {name: cell for name, cell in row.items() if name not in {"prompt", "mapping"}}
        messages: dict[Hashable, Message] = {}
        for key, parent, node in _nodes(row):
            own = {name: cell for name, cell in node.items() if name not in NODE_CELLS}
            role, text = _role_and_text(node)
            messages[key] = Message(line, role, text, {**others, **own}, parent)
        yield from _conversations(messages)


Nodes: TypeAlias = list[tuple[Hashable, Hashable, Mapping[str, Any]]]
"""The key of each message in a tree, its parent's key, and the message."""


def _nodes(row: Row) -> Nodes:
    """Return the messages of a tree; empty if the row is not a tree."""
    root, mapping = row.get("prompt"), row.get("mapping")
    nodes: Nodes = []
    if isinstance(mapping, Mapping):  # ChatGPT
        for key, node in mapping.items():
            if isinstance(node, Mapping) and "parent" in node:
                message = node.get("message")
                parent = node["parent"]
                nodes.append((key, parent, message if isinstance(message, Mapping) else {}))
    elif isinstance(root, Mapping) and isinstance(root.get("replies"), list):  # OpenAssistant
        nodes.append((0, None, root))
        for key, _, node in nodes:  # grows during iteration
            replies = [reply for reply in node.get("replies") or [] if isinstance(reply, Mapping)]
            nodes += [(len(nodes) + i, key, reply) for i, reply in enumerate(replies)]
    return nodes


def _role_and_text(node: Mapping[str, Any]) -> tuple[str, object]:
    author = node.get("author")
    role = author.get("role") if isinstance(author, Mapping) else node.get("role")
    return role_of(role), node.get("text", node.get("content"))


def _conversations(messages: Mapping[Hashable, Message]) -> Rows:
    replies: dict[Hashable, list[Message]] = {}
    for message in messages.values():
        replies.setdefault(message.parent, []).append(message)
    is_followed: set[Hashable] = set()
    for key, message in messages.items():
        if message.role == USER:
            for earlier, _ in _before(key, messages):
                if earlier in is_followed:
                    break  # so are all messages before it
                is_followed.add(earlier)
    for key, message in messages.items():
        if message.role == USER and key not in is_followed:
            path = [earlier for _, earlier in _before(key, messages)][::-1]
            answers = [reply for reply in replies.get(key, []) if reply.role == ASSISTANT]
            best = sorted(answers, key=_rank)[:1]
            turns = [{"role": m.role, "content": m.text} for m in (*path, message, *best)]
            yield message.line, {**message.cells, MESSAGES: turns}


def _before(
    key: Hashable, messages: Mapping[Hashable, Message]
) -> Iterator[tuple[Hashable, Message]]:
    """Yield the messages before a message, with their keys, latest first."""
    seen = {key}
    while (key := messages[key].parent) in messages and key not in seen:
        seen.add(key)
        yield key, messages[key]


def _rank(answer: Message) -> float:
    rank = answer.cells.get("rank")
    return float(rank) if isinstance(rank, int | float) and not math.isnan(rank) else 0.0
