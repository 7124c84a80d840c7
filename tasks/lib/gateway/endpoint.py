"""One deployment of a route at work: its client, its pace, and how busy it is."""

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, Self

from tasks.lib.gateway.client import Client
from tasks.lib.gateway.credentials import key_name, redact
from tasks.lib.gateway.deployment import Deployment
from tasks.lib.gateway.prices import most_prompt_tokens
from tasks.lib.gateway.prompt import Messages
from tasks.lib.gateway.rate_limit import Pace, Start
from tasks.lib.gateway.reply import Reply

BACKOFF_S = 1.0  # before the second call; twice as long before each next one


class Habits(NamedTuple):
    """How calls are made, in the words of params.yaml where they come from there."""

    seed: int
    max_answer_tokens: int
    max_attempts: int
    timeout_s: float
    concurrency: int
    backoff_s: float = BACKOFF_S


class Used(NamedTuple):
    """The tokens of a call and their price."""

    prompt_tokens: int
    completion_tokens: int
    usd: float


class Endpoint:
    """Makes the calls to one deployment, within one event loop."""

    def __init__(self, deployment: Deployment, where: str, habits: Habits) -> None:
        self.deployment, self._habits = deployment, habits
        self.client = Client(
            deployment,
            where,
            seed=habits.seed,
            max_tokens=habits.max_answer_tokens,
            timeout_s=habits.timeout_s,
        )
        self._pace = Pace(deployment.rpm, deployment.tpm)
        self._n_running = 0
        self._rests_until = 0.0

    @property
    def burden(self) -> tuple[float, int]:
        """How unwise it is to choose this one: the seconds it rests, then who has chosen it."""
        return max(0.0, self._rests_until - time.monotonic()), self._n_running

    @contextmanager
    def chosen(self) -> Iterator[Self]:
        """Count a call from the moment it is decided on; it is booked before it is made."""
        self._n_running += 1
        try:
            yield self
        finally:
            self._n_running -= 1

    def rest(self, seconds: float) -> None:
        """Let no call begin for so long; a longer rest that it was told before stays."""
        self._rests_until = max(self._rests_until, time.monotonic() + seconds)

    async def start(self, most: Used, until: asyncio.Event) -> Start:
        """Wait until it has rested and its pace allows a call, or until the event."""
        rest_s, _ = self.burden
        if rest_s:
            with suppress(TimeoutError):
                await asyncio.wait_for(until.wait(), rest_s)
        return await self._pace.start(most.prompt_tokens + most.completion_tokens, until)

    def most(self, messages: Messages, schema: dict[str, Any]) -> Used:
        """The most that a call can use."""
        n_prompt = most_prompt_tokens(messages, self.client.schema_bytes(schema))
        return self.used(n_prompt, self._habits.max_answer_tokens)

    def used(self, prompt_tokens: int, completion_tokens: int) -> Used:
        """What so many tokens cost."""
        usd = self.client.price.cost_usd(prompt_tokens, completion_tokens)
        return Used(prompt_tokens, completion_tokens, usd)

    def redact(self, text: str) -> str:
        """The text without this endpoint's key, nor any other that the environment holds.

        Halves of characters, which no file takes, are replaced too.
        """
        name = key_name(self.deployment.api_key or "")
        text = text.encode(errors="replace").decode()
        return redact(text, *([os.environ[name]] if name else []))

    async def ask(self, messages: Messages, schema: dict[str, Any], start: Start) -> Reply:
        """The reply to one request, which tells `start` what it used.

        Raises:
            ProviderFault: There was no reply, or none that could be read.
        """
        reply = await self.client.ask(messages, schema)
        if reply.prompt_tokens is not None:
            start.n_tokens = reply.prompt_tokens + (reply.completion_tokens or 0)
        return reply


def least_busy(endpoints: Sequence[Endpoint]) -> Endpoint:
    """The endpoint that can begin soonest, and of those the one with the fewest calls."""
    return min(endpoints, key=lambda endpoint: endpoint.burden)
