"""Limit what is read from the wire: the size and shape of a reply, and its usage.

No provider is trusted: a body that never ends, one that expands to gigabytes, or one with a million
empty objects must cost neither memory nor time.
"""

import re
import zlib
from collections.abc import AsyncIterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

MAX_BODY = 4 * 2**20
"""Bytes of a response: more than the longest thinking that a route has room for."""
MAX_FILE = 128 * 2**20
"""Bytes of a batch's file: 50,000 replies of 2.6 kB."""
MAX_PARTS = 5000
"""Objects and lists in a JSON body; LiteLLM takes half a millisecond over each unusable one."""
MAX_DEPTH = 64
MAX_FIELD = 500
"""Characters in a top-level text of a reply, such as the model's name."""
ENCODING = "gzip"
MAX_COUNT = 2**53
"""Tokens; a higher number cannot be a count, and does not fit into the journal."""

_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)  # linear, even if one never ends
_NO_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))
_USAGE = ("usage", "usageMetadata")
_COUNT_NAME = re.compile(r"(?:tokens|token_?count)$", re.IGNORECASE)


class UnreadableBody(Exception):
    """A body that is too large, too deep, or damaged."""


@dataclass
class HttpExchange:
    """The last HTTP exchange of a call, which LiteLLM's errors do not describe reliably.

    Attributes:
        status: The status of the response; None if none arrived.
        problem: Why the response was not read; empty if it was.
    """

    status: int | None = None
    problem: str = ""

    @property
    def is_served(self) -> bool:
        """Whether the provider fulfilled the request, and so may charge for it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_redirect(self) -> bool:
        """Whether the provider named another address."""
        return self.status is not None and 300 <= self.status < 400


_current: ContextVar[HttpExchange | None] = ContextVar("exchange", default=None)


def watch_exchange() -> HttpExchange:
    """Return the record of this task's next HTTP exchange, which the transport fills in."""
    exchange = HttpExchange()
    _current.set(exchange)
    return exchange


def current_exchange() -> HttpExchange:
    """Return the record of this task's HTTP exchange."""
    return _current.get() or HttpExchange()


async def read_body(parts: AsyncIterable[bytes], encoding: str, limit: int) -> bytes:
    """Return a body, decompressed if necessary.

    Raises:
        UnreadableBody: It has more than `limit` bytes, or cannot be decompressed.
    """
    if encoding not in ("", "identity", ENCODING):
        raise UnreadableBody(f"the reply has an encoding that was not requested: {encoding[:40]}")
    unpacker = zlib.decompressobj(_GZIP_OR_ZLIB) if encoding == ENCODING else None
    body, n_received = bytearray(), 0
    async for part in parts:
        n_received += len(part)
        try:
            body += unpacker.decompress(part, limit + 1 - len(body)) if unpacker else part
        except zlib.error:
            raise UnreadableBody("the reply cannot be decompressed") from None
        if max(n_received, len(body)) > limit:
            raise UnreadableBody(f"the reply has more than {limit:,} bytes")
    if unpacker and not unpacker.eof:
        raise UnreadableBody("the compressed reply is incomplete")
    return bytes(body)


def check_shape(body: bytes, max_parts: int = MAX_PARTS) -> None:
    """Check the number and the depth of the objects and lists in a JSON text.

    Raises:
        UnreadableBody: There are more than `max_parts`, or they are deeper than `MAX_DEPTH`.
    """
    brackets = _STRINGS.sub(b"", body).translate(None, delete=_NO_BRACKETS)
    if len(brackets) > 2 * max_parts:
        raise UnreadableBody(f"the reply has more than {max_parts:,} objects and lists")
    depth = 0
    for bracket in brackets:
        depth += 1 if bracket in b"{[" else -1
        if depth > MAX_DEPTH:
            raise UnreadableBody(f"the reply is nested deeper than {MAX_DEPTH} levels")


def sound_reply(reply: dict[str, Any]) -> dict[str, Any]:
    """Return a reply with short names, and without a usage that contains anything but counts.

    LiteLLM fails on some of these usages, and takes seconds over a long model name.
    """
    return {
        name: value[:MAX_FIELD] if isinstance(value, str) else value
        for name, value in reply.items()
        if _is_sound(name, value)
    }


def is_json(body: bytes) -> bool:
    """Return whether a body begins like a JSON object or list."""
    return body.lstrip().startswith((b"{", b"["))


def is_count(value: Any) -> bool:
    """Return whether a JSON value may be a number of tokens."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value < MAX_COUNT and value == int(value)


def _is_sound(name: str, value: Any) -> bool:
    """Return False only if the field is a usage that contains anything but token counts."""
    if name in _USAGE:
        return value is None or (isinstance(value, dict) and all(map(_may_count, _counts(value))))
    return not name.endswith("eval_count") or _may_count(value)


def _may_count(value: Any) -> bool:
    return value is None or is_count(value)


def _counts(value: Any, name: str = "") -> Iterator[Any]:
    """Yield the token counts in a usage, whatever their types."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _counts(part, key)
    elif isinstance(value, list):
        for part in value:
            yield from _counts(part, name)
    elif _COUNT_NAME.search(name):
        yield value
