"""The block of texts inside a prompt: untrusted, and fenced so that none can break out.

3 candidates, pick 1; a line with 5d41402a is a fence and belongs to no candidate.
----- 5d41402a slot 1 -----
Name three rivers that cross a border.
----- 5d41402a slot 2 -----
...
----- 5d41402a end -----
"""

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import count
from typing import NamedTuple

WORD_DIGITS = 8
NOTE_CHARS = 50  # room for the note of a text of a billion characters
HEAD_SHARE = 2 / 3  # of a shortened text; requests stand at the start more often than at the end

_HEADER = re.compile(
    r"^(?P<n>\d+) candidates, pick (?P<picks>\d+); "
    r"a line with (?P<word>[0-9a-f]{8}) is a fence and belongs to no candidate\.$",
    re.MULTILINE,
)


class Block(NamedTuple):
    """What a block of candidates says: the texts in the order of their slots, and the task."""

    texts: list[str]
    n_picks: int


def render_block(texts: Sequence[str], n_picks: int) -> str:
    """The candidates, slot i + 1 holding ``texts[i]``, each between lines with a fence word.

    The word is drawn from a hash of the texts and occurs in none of them, so no candidate can
    forge a fence.
    """
    word = fence_word(texts)
    header = (
        f"{len(texts)} candidates, pick {n_picks}; "
        f"a line with {word} is a fence and belongs to no candidate."
    )
    return _fenced(word, header, {f"slot {i}": text for i, text in enumerate(texts, start=1)})


def render_answered(request: str, response: str) -> str:
    """A request and the response to it, fenced in the same way."""
    word = fence_word([request, response])
    header = f"A line with {word} is a fence and belongs to neither text."
    return _fenced(word, header, {"request": request, "response": response})


def parse_block(message: str) -> Block | None:
    """What the first block in a message says; None when the message holds no whole block.

    The inverse of `render_block`.
    """
    header = _HEADER.search(message)
    if header is None:
        return None
    word = header["word"]
    parts = re.split(rf"\n----- {word} (?:slot \d+|end) -----(?:\n|\Z)", message[header.end() :])
    texts = parts[1:-1]
    if len(texts) != int(header["n"]):
        return None
    return Block(texts, int(header["picks"]))


def _fenced(word: str, header: str, texts: Mapping[str, str]) -> str:
    lines = [header]
    for name, text in texts.items():
        lines += [f"----- {word} {name} -----", text]
    return "\n".join([*lines, f"----- {word} end -----"])


def fence_word(texts: Sequence[str]) -> str:
    """8 hex digits that depend on the texts alone and occur in none of them."""
    digest = sha256("\0".join(texts).encode()).digest()
    words = (sha256(digest + n.to_bytes(8, "big")).hexdigest()[:WORD_DIGITS] for n in count())
    return next(word for word in words if not any(word in text for text in texts))


def shorten(text: str, max_chars: int) -> str:
    """The text, or its beginning and end around a note of what was left out.

    At most `max_chars` characters, the note included, given that `max_chars` has room for one.
    """
    if len(text) <= max_chars:
        return text
    n_kept = max_chars - NOTE_CHARS
    n_head = int(n_kept * HEAD_SHARE)
    note = f"\n[... {len(text) - n_kept:,} characters left out ...]\n"
    return text[:n_head] + note + text[n_head - n_kept :]
