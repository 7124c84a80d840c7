"""A call to a provider on this machine, and the response to it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tasks.lib.gateway.prompt_fence import CandidateBlock, parse_block
from tests.protocols import messages_of

BYTES_PER_TOKEN = 4


@dataclass(frozen=True)
class Call:
    """One request as it arrived."""

    n: int  # from 1, in order of arrival
    path: str
    headers: dict[str, str]  # names in lower case
    body: dict[str, Any]  # empty for a GET
    arrived_s: float

    @property
    def messages(self) -> list[dict[str, str]]:
        return messages_of(self.path, self.body)

    @property
    def block(self) -> CandidateBlock:
        """The candidates and the number to pick; a re-ask repeats the same block."""
        blocks = (parse_block(message["content"]) for message in self.messages)
        return next(block for block in blocks if block is not None)

    @property
    def item(self) -> tuple[str, str]:
        """The request and the response to rate."""
        (question,) = [m["content"] for m in self.messages if "\nA line with " in m["content"]]
        word = question.partition("\nA line with ")[2][:8]
        _, request, response, _ = re.split(rf"\n----- {word} \w+ -----\n", question)
        return request, response

    @property
    def is_reask(self) -> bool:
        """Whether the call names a problem with the previous reply."""
        return any(message["role"] == "assistant" for message in self.messages)

    @property
    def prompt_tokens(self) -> int:
        n_bytes = sum(len(message["content"].encode()) for message in self.messages)
        return -(-n_bytes // BYTES_PER_TOKEN)


@dataclass(frozen=True)
class Response:
    """The response to a call, and what goes wrong on the way."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    tokens: tuple[int, int] = (0, 0)  # prompt and completion; billed even if they do not arrive
    delay_s: float = 0.0  # before the first byte
    trickle_s: float = 0.0  # between bytes
    reset_after: int | None = None  # bytes of the body, then the connection breaks
    times: int = 1  # that the body is sent
    wire: Iterable[bytes] = ()  # sent instead of a status line, headers and the body
    fault: str = ""  # its name in FAULTS; "" for an answer
