"""Spending: each call is reserved at its upper bound, then settled at its cost or released."""

import asyncio
import time
from collections import Counter
from typing import NamedTuple

from tasks.lib.core.events import log
from tasks.lib.gateway.endpoint import Endpoint
from tasks.lib.gateway.errors import ErrorKind, ProviderError
from tasks.lib.gateway.reply import Reply, UnusableReply
from tasks.lib.gateway.request import Request
from tasks.lib.gateway.task_pool import StopRun
from tasks.lib.journal.journal import Journal
from tasks.lib.journal.models import ANSWER, Answer, Call, CallCost, Refused, Settled

TAKEN_POLL_S = 0.2
KEPT_REPLY = 2000  # characters of an unusable reply, which the re-ask quotes
NOTHING = CallCost(prompt_tokens=0, completion_tokens=0, usd=0.0, is_upper_bound=False)


class CapReached(StopRun):
    """The next call could cost more than is left of the cap."""


class Stopped(StopRun):
    """The run is ending; no further call is begun."""


class Reservation(NamedTuple):
    """A call that is booked at its upper bound."""

    id: int
    request: Request
    endpoint: Endpoint
    upper_bound: CallCost
    began_s: float

    @property
    def duration_s(self) -> float:
        """The time since it was booked."""
        return time.monotonic() - self.began_s


class SpendLedger:
    """Books the calls of one run in its journal; none from the moment that `stopping` is set."""

    def __init__(self, journal: Journal, stopping: asyncio.Event) -> None:
        self._journal, self._stopping = journal, stopping
        self._n_calls: Counter[str] = Counter()

    def report(self) -> None:
        """Log in one line which calls failed, if any."""
        failed = [f"{n:,} {kind}" for kind, n in self._n_calls.most_common() if kind != ANSWER]
        if failed:
            n_calls = f"{self._n_calls.total():,}"
            log.info("calls: %s; without an answer: %s", n_calls, ", ".join(failed))

    async def reserve(
        self, request: Request, endpoint: Endpoint, upper_bound: CallCost
    ) -> Reservation | None:
        """Book a call at its upper bound; return None if its answer is in the journal by now.

        Raises:
            CapReached: It could cost more than is left, even when all calls under way have ended.
            Stopped: The run is ending.
        """
        call = Call(
            key=request.key,
            route=request.alias,
            model=endpoint.deployment.model,
            **upper_bound._asdict(),
        )
        while not self._stopping.is_set():
            booked = await self._journal.reserve(call)
            if not isinstance(booked, Refused):
                return Reservation(booked, request, endpoint, upper_bound, time.monotonic())
            if booked is Refused.ANSWERED:
                return None
            if booked is Refused.TAKEN:
                await asyncio.sleep(TAKEN_POLL_S)
            elif not await self._journal.wait_for_room():
                raise CapReached
        raise Stopped

    async def release(self, reservation: Reservation, error: ProviderError) -> None:
        """Settle a call without a reply: at its upper bound, unless it cannot have been charged."""
        cost = reservation.upper_bound if error.may_cost else NOTHING
        await self._settle(reservation, error.kind, error.message, "", cost)

    async def settle(self, reservation: Reservation, reply: Reply) -> Answer | None:
        """Settle a call by its reply; keep and return the answer, or None if it has none.

        API keys in the reply are redacted.
        """
        request, endpoint = reservation.request, reservation.endpoint
        redact, cost = endpoint.redact, reservation.upper_bound
        if reply.prompt_tokens is not None and reply.completion_tokens is not None:
            cost = endpoint.cost(reply.prompt_tokens, reply.completion_tokens)
        parsed = request.read(reply.text)
        if isinstance(parsed, UnusableReply):
            is_filtered = reply.finish_reason == ErrorKind.CONTENT_FILTER
            outcome = ErrorKind.CONTENT_FILTER if is_filtered else parsed.problem
            message = redact(f"{parsed.detail} (finish_reason: {reply.finish_reason})")
            quoted = redact(reply.text[:KEPT_REPLY])
            await self._settle(reservation, outcome, message, quoted, cost)
            return None
        answer = Answer(
            key=request.key,
            route=request.alias,
            model=redact(reply.model),
            text=redact(reply.text),
            parsed=tuple(parsed),
            dropped_params=reply.dropped_params,
            finish_reason=redact(reply.finish_reason),
            **cost._asdict(),
        )
        self._n_calls[ANSWER] += 1
        await self._journal.keep(reservation.id, answer, reservation.duration_s)
        return answer

    async def _settle(
        self, reservation: Reservation, outcome: str, message: str, reply: str, cost: CallCost
    ) -> None:
        self._n_calls[outcome] += 1
        settled = Settled(
            outcome=outcome,
            message=message,
            reply=reply,
            duration_s=reservation.duration_s,
            **cost._asdict(),
        )
        await self._journal.settle(reservation.id, settled)
