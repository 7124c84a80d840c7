"""Fence untrusted texts inside a prompt so that no text can break out of its place.

3 candidates, pick 1. A line with 5d41402a is a separator, not part of a candidate.
----- 5d41402a slot 1 -----
Name three rivers that cross a border.
----- 5d41402a slot 2 -----
...
----- 5d41402a end -----
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from itertools import count
from string import Template
from typing import NamedTuple

WORD_DIGITS = 8

BLOCK_HEADER = (
    "$n candidates, pick $n_picks. A line with $word is a separator, not part of a candidate."
)
ITEM_HEADER = "A line with $word is a separator, not part of either text."
_HEADER = re.compile(
    r"^(?P<n>\d+) candidates, pick (?P<n_picks>\d+)\. "
    r"A line with (?P<word>[0-9a-f]{8}) is a separator, not part of a candidate\.$",
    re.MULTILINE,
)


class CandidateBlock(NamedTuple):
    """The contents of a block: the candidates in slot order, and the number to pick."""

    texts: list[str]
    n_picks: int


def render_block(
    texts: Sequence[str],
    n_picks: int,
    header: str = BLOCK_HEADER,
    slots: Iterable[object] | None = None,
) -> str:
    """Return the candidates, each between lines with a fence word; slot i + 1 is ``texts[i]``.

    The word comes from a hash of the texts and occurs in none of them, so no candidate can forge
    a fence.

    Args:
        texts: The candidates.
        n_picks: The number of candidates to pick.
        header: The first line, with the placeholders ``$n``, ``$n_picks`` and ``$word``.
        slots: The names of the slots; if empty, they are numbered from 1.
    """
    word = fence_word(texts)
    first = Template(header).substitute(n=len(texts), n_picks=n_picks, word=word)
    names = slots or count(1)
    return _fenced(word, first, {f"slot {name}": text for name, text in zip(names, texts)})  # noqa: B905


def render_answered(request: str, response: str, header: str = ITEM_HEADER) -> str:
    """Return a request and its response, fenced in the same way."""
    word = fence_word([request, response])
    first = Template(header).substitute(word=word)
    return _fenced(word, first, {"request": request, "response": response})


def parse_block(message: str) -> CandidateBlock | None:
    """Return the first block in a message, or None if there is no complete block.

    This is the inverse of `render_block`.
    """
    header = _HEADER.search(message)
    if header is None:
        return None
    word = header["word"]
    parts = re.split(rf"\n----- {word} (?:slot \w+|end) -----(?:\n|\Z)", message[header.end() :])
    texts = parts[1:-1]
    if len(texts) != int(header["n"]):
        return None
    return CandidateBlock(texts, int(header["n_picks"]))


def _fenced(word: str, header: str, texts: Mapping[str, str]) -> str:
    lines = [header]
    for name, text in texts.items():
        lines += [f"----- {word} {name} -----", text]
    return "\n".join([*lines, f"----- {word} end -----"])


def fence_word(texts: Sequence[str]) -> str:
    """Return 8 hex digits that depend only on the texts and occur in none of them."""
    joined = "\0".join(texts)
    digest = sha256(joined.encode()).digest()
    words = (sha256(digest + n.to_bytes(8, "big")).hexdigest()[:WORD_DIGITS] for n in count())
    return next(word for word in words if word not in joined)
