"""Build the text that a judge or an annotator sees for a record, and shorten long texts.

[system]
You are a patient teacher.

[earlier user turn]
Explain tides.

[earlier assistant turn]
The Moon pulls the sea ...

[request]
Make it shorter.
"""

import re

from tasks.lib.core.records import read_turns, record_text, turn_text

NOTE_CHARS = 50  # room for the note, even if a billion characters are left out
HEAD_SHARE = 2 / 3  # of a shortened text; a request is more often at the start than at the end
CONTEXT_HEAD_SHARE = 1 / 3  # of a shortened context, which ends with the latest turn

_REQUEST = "\n\n[request]\n"
_HAS_CONTEXT = re.compile(r"\[(?:system|tools|earlier [^\]\n]* turn)\]\n")


def context_text(system: str | None, turns: str | None, tools: str | None) -> str:
    """Return the context of a record, each part under a heading; empty if there is none."""
    parts = [("system", system), ("tools", tools)]
    parts += [(f"earlier {turn['role']} turn", turn_text(turn)) for turn in read_turns(turns)]
    return "\n\n".join(f"[{heading}]\n{text}" for heading, text in parts if text)


def shown_text(
    instruction: str,
    input_text: str,
    system: str | None = None,
    turns: str | None = None,
    tools: str | None = None,
) -> str:
    """Return the text that a judge sees: the context if there is one, then the request.

    The request is the instruction, then the input.
    """
    request = record_text(instruction, input_text)
    context = context_text(system, turns, tools) if system or turns or tools else ""
    return f"{context}{_REQUEST}{request}" if context else request


def shorten(text: str, max_chars: int) -> str:
    """Return the text, or its beginning and end around a note that says how much is omitted.

    The context of a record is shortened before the request. The result has at most `max_chars`
    characters, provided that this leaves room for the notes.
    """
    if len(text) <= max_chars:
        return text
    context, mark, request = text.partition(_REQUEST)
    if not mark or not _HAS_CONTEXT.match(text):
        return _cut(text, max_chars, HEAD_SHARE)
    room = max_chars - len(mark)
    request = _cut(request, room - NOTE_CHARS, HEAD_SHARE)
    return f"{_cut(context, room - len(request), CONTEXT_HEAD_SHARE)}{mark}{request}"


def _cut(text: str, max_chars: int, head_share: float) -> str:
    if len(text) <= max_chars:
        return text
    n_kept = max_chars - NOTE_CHARS
    n_head = int(n_kept * head_share)
    note = f"\n[... {len(text) - n_kept:,} characters left out ...]\n"
    return text[:n_head] + note + text[len(text) - (n_kept - n_head) :]
