"""One question, asked until it is answered: retries, what they cost, and when to give up."""

import asyncio
import random
import time
from contextlib import suppress
from typing import NamedTuple

from tasks.llm.answer import AnswerFault, Unreadable, answer_schema, parse_picks
from tasks.llm.client import Client, Reply
from tasks.llm.faults import FaultKind, ProviderFault
from tasks.llm.journal import Answer, Attempt, Journal
from tasks.llm.keys import redact
from tasks.llm.prices import Price
from tasks.llm.prompt import Messages
from tasks.llm.stops import FATAL, stop_for

BACKOFF_S = 1.0  # before the second call; twice as long before each next one
MAX_BACKOFF_S = 60.0
MAX_RETRY_AFTER_S = 300.0  # a provider that asks for a longer wait is left alone

HOPELESS = (FaultKind.CONTEXT_TOO_LONG, FaultKind.CONTENT_FILTER)
"""What no retry cures, for one question."""

INVALID = tuple(AnswerFault)


class Posed(NamedTuple):
    """A question as it is put to a model."""

    key: str  # of its answer in the journal
    messages: Messages
    texts: list[str]  # of its candidates, as the messages show them
    n_picks: int


class Caller:
    """Asks the model of a client, and books every call in the journal, within one event loop.

    Args:
        client: Makes the calls.
        journal: Where answers are kept and failed calls are booked.
        max_attempts: Calls for one question; those that gave an invalid answer count across runs.
        stopping: Set when the run is to end; nobody waits for a next call then.
        backoff_s: How long to wait before the second call.
    """

    def __init__(
        self,
        client: Client,
        journal: Journal,
        *,
        max_attempts: int,
        stopping: asyncio.Event,
        backoff_s: float = BACKOFF_S,
    ) -> None:
        self._client, self._journal = client, journal
        self._max_attempts, self._backoff_s = max_attempts, backoff_s
        self._stopping = stopping
        self._is_ready = False
        self._price: Price | None = None

    async def answer(self, posed: Posed) -> Answer | None:
        """The answer, which is then in the journal; None when the model will not give one.

        Raises:
            LLMError: The provider refuses for good, or the last attempt failed.
            ParamError: The route's provider is unknown, or its key is not set.
        """
        self._prepare()
        schema = answer_schema(len(posed.texts), posed.n_picks)
        n_calls = self.n_invalid(posed)
        while n_calls < self._max_attempts:
            started = time.monotonic()
            try:
                reply = await self._client.ask(posed.messages, schema)
            except ProviderFault as fault:
                self._book(posed, started, fault.kind, fault.message)
                if fault.kind in HOPELESS:
                    return None
                if fault.kind is not FaultKind.REFUSED_PARAMETER:
                    n_calls += 1
                    await self._wait(fault, n_calls)
            else:
                n_calls += 1
                picks = parse_picks(reply.text, len(posed.texts), posed.n_picks)
                if not isinstance(picks, Unreadable):
                    return self._keep(posed, started, reply, picks)
                is_filtered = reply.finish_reason == "content_filter"
                kind = FaultKind.CONTENT_FILTER if is_filtered else picks.fault
                words = f"{picks.detail} (finish_reason: {reply.finish_reason})"
                self._book(posed, started, kind, redact(words), reply)
                if is_filtered:
                    return None
        return None

    def is_given_up(self, posed: Posed) -> bool:
        """Whether earlier calls show that the model will not answer this question."""
        is_hopeless = self._journal.n_attempts(posed.key, HOPELESS) > 0
        return is_hopeless or self.n_invalid(posed) >= self._max_attempts

    def n_invalid(self, posed: Posed) -> int:
        """How many invalid answers the question got, in this run or an earlier one."""
        return self._journal.n_attempts(posed.key, INVALID)

    async def close(self) -> None:
        """Close the connections to the provider."""
        if self._is_ready:
            await self._client.close()

    def _prepare(self) -> None:
        """Get ready for calls; not earlier, since a run may find all answers in the journal."""
        if not self._is_ready:
            self._client.prepare()
            self._price = self._client.price()
            self._is_ready = True

    async def _wait(self, fault: ProviderFault, n_calls: int) -> None:
        """Wait before the next call, or end the run where there is to be none."""
        delay_s = min(MAX_BACKOFF_S, self._backoff_s * 2 ** (n_calls - 1))
        delay_s *= random.uniform(0.5, 1)  # or all that failed together come back together
        if fault.retry_after_s is not None:
            delay_s = fault.retry_after_s
        is_last = n_calls >= self._max_attempts or delay_s > MAX_RETRY_AFTER_S
        if fault.kind not in FATAL and not is_last:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay_s)
            if not self._stopping.is_set():
                return
        raise stop_for(fault, self._client.route, self._journal.path)

    def _keep(self, posed: Posed, started: float, reply: Reply, picks: list[int]) -> Answer:
        answer = Answer(
            model=reply.model,
            text=reply.text,
            picks=tuple(picks),
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            usd=self._usd(reply),
            finish_reason=reply.finish_reason,
            duration_s=time.monotonic() - started,
        )
        return self._journal.add_answer(posed.key, answer)

    def _book(
        self, posed: Posed, started: float, kind: str, message: str, reply: Reply | None = None
    ) -> None:
        attempt = Attempt(
            kind=kind,
            message=message,
            prompt_tokens=reply.prompt_tokens if reply else None,
            completion_tokens=reply.completion_tokens if reply else None,
            usd=self._usd(reply) if reply else None,
            duration_s=time.monotonic() - started,
        )
        self._journal.add_attempt(posed.key, attempt)

    def _usd(self, reply: Reply) -> float | None:
        if self._price is None:
            return None
        return self._price.cost_usd(reply.prompt_tokens, reply.completion_tokens)
