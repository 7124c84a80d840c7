"""Warn about columns that may mean something other than what they are read as."""

import json
from collections.abc import Mapping, Sequence

from tasks.ingest.detect_columns import QUESTIONS, find_messages, plain_name
from tasks.ingest.first_cells import cells_of
from tasks.ingest.reshape_hints import jq
from tasks.ingest.rows import Row
from tasks.lib.core.events import log

REPLIES = {
    *("parent_id", "parentid", "parent_message_id", "parent_user_id", "reply_to", "in_reply_to"),
    *("in_reply_to_id", "in_reply_to_status_id", "in_response_to_tweet_id"),
}
THREADS = (
    *("conversation_id", "conv_id", "dialogue_id", "dialog_id", "session_id", "thread_id"),
    *("chat_id", "ticket_id", "conversation", "message_tree_id", "c_id"),
)
MAX_DISTINCT = 0.7  # share of distinct ids; above it, rows probably do not belong together


def warn(rows: Sequence[Row], columns: Mapping[str, str], *, is_chat: bool) -> None:
    """Log a warning for each doubt about a file that starts with `rows`."""
    instruction = columns["instruction"]
    unused = _unused_messages(rows, columns)
    if unused:
        log.warning(
            "ingest: the turns in column %s are not used; set ingest.columns.turns to use them as "
            "context, or ingest.columns.instruction to use them as instructions",
            unused,
        )
    if is_chat:
        if _may_be_tasks(instruction) and "output" not in columns:
            log.warning(
                "ingest: the texts in a list of column %s are read as successive questions in one "
                "conversation; if they are separate tasks, write a row for each: %s",
                instruction,
                jq(f". + {{instruction: .[{json.dumps(instruction)}][]}}"),
            )
        return
    names = dict.fromkeys(name for row in rows for name in row)
    reply = next((name for name in names if plain_name(name) in REPLIES), None)
    thread = next((name for name in names if plain_name(name) in THREADS), None)
    if reply and any(row.get(reply) not in (None, "") for row in rows):
        log.warning(
            "ingest: column %s says that some rows reply to others, and each reply is read as an "
            "instruction; to leave them out, remove the rows with a value there",
            reply,
        )
    elif thread and recurs(thread, rows):
        log.warning(
            "ingest: rows with the same %s are read as separate records; if they are the messages "
            "of a conversation, put their texts in a text column, and user or assistant in a "
            "role column",
            thread,
        )


def _unused_messages(rows: Sequence[Row], columns: Mapping[str, str]) -> str | None:
    """Return a column of messages that no field uses, or None."""
    used = tuple(columns.values())
    cells = {name: column for name, column in cells_of(rows).items() if not name.startswith(used)}
    return find_messages(cells)


def _may_be_tasks(column: str) -> bool:
    """Return whether the name of a column of text lists suggests separate tasks, not turns."""
    name = plain_name(column)
    return name in QUESTIONS and name.endswith("s") and name != "turns"


def recurs(column: str, rows: Sequence[Row]) -> bool:
    """Return whether many rows repeat an earlier row's value of `column`."""
    cells = [str(row[column]) for row in rows if row.get(column) is not None]
    return len(set(cells)) <= MAX_DISTINCT * len(cells)
