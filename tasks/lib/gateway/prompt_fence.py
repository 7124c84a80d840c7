"""Fence untrusted texts inside a prompt so that no text can break out of its place.

3 candidates, pick 1. A line with 5d41402a is a separator, not part of a candidate.
----- 5d41402a slot 1 -----
Name three rivers that cross a border.
----- 5d41402a slot 2 -----
...
----- 5d41402a end -----
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import count
from string import Template
from typing import NamedTuple

WORD_DIGITS = 8

BLOCK_HEADER = (
    "$n candidates, pick $n_picks. A line with $word is a separator, not part of a candidate."
)
ITEM_HEADER = "A line with $word is a separator, not part of either text."
_WORD = "$word"
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
    first = _header(header, len(texts), n_picks).replace(_WORD, word)
    names = slots or count(1)
    return _fenced(word, first, (f"slot {name}" for name in names), texts)


def render_answered(request: str, response: str, header: str = ITEM_HEADER) -> str:
    """Return a request and its response, fenced in the same way."""
    word = fence_word([request, response])
    return _fenced(word, header.replace(_WORD, word), ("request", "response"), (request, response))


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


@lru_cache(maxsize=256)  # a run's prompts have few sizes
def _header(header: str, n: int, n_picks: int) -> str:
    return Template(header).safe_substitute(n=n, n_picks=n_picks)


def _fenced(word: str, header: str, names: Iterable[str], texts: Iterable[str]) -> str:
    items = [f"----- {word} {name} -----\n{text}" for text, name in zip(texts, names, strict=False)]
    return "\n".join((header, *items, f"----- {word} end -----"))


def fence_word(texts: Sequence[str]) -> str:
    """Return 8 hex digits that depend only on the texts and occur in none of them."""
    joined = "\0".join(texts)
    digest = sha256(joined.encode()).digest()
    for n in count():
        word = sha256(digest + n.to_bytes(8, "big")).hexdigest()[:WORD_DIGITS]
        if word not in joined:
            break
    return word
