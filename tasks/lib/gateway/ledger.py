"""Where calls are paid: booked at their most before they are made, settled when they have ended."""

import asyncio
import time
from collections import Counter

from tasks.lib.core.events import log
from tasks.lib.gateway.endpoint import Endpoint, Used
from tasks.lib.gateway.errors import FaultKind, ProviderFault
from tasks.lib.gateway.reply import Reply
from tasks.lib.gateway.reply_json import Unreadable
from tasks.lib.gateway.request import Posed
from tasks.lib.gateway.workers import Halt
from tasks.lib.journal.journal import Journal
from tasks.lib.journal.models import ANSWER, Answer, Call, Refused, Settled

TAKEN_POLL_S = 0.2
KEPT_REPLY = 2000  # characters of a useless reply, which the next question quotes


class CapReached(Halt):
    """The next call could cost more than is left of the cap."""


class Stopped(Halt):
    """The run is ending; no other call is begun."""


class Till:
    """Books the calls of one run in its journal.

    Attributes:
        stopping: Set when the run is to end; no call is booked from then on.
        tally: How many calls ended in which way.
    """

    def __init__(self, journal: Journal, stopping: asyncio.Event) -> None:
        self.journal, self.stopping = journal, stopping
        self.tally: Counter[str] = Counter()

    def tell(self) -> None:
        """Tell in one line which calls failed, if any."""
        failed = [f"{n:,} {kind}" for kind, n in self.tally.most_common() if kind != ANSWER]
        if failed:
            n_calls = f"{self.tally.total():,}"
            log.info("calls: %s; without an answer: %s", n_calls, ", ".join(failed))

    async def open(self, posed: Posed, route: str, model: str, most: Used) -> "Purchase | None":
        """A call, booked at its most; None where its answer is in the journal by now.

        Raises:
            CapReached: It could cost more than is left, even when all calls under way have ended.
            Stopped: The run is ending.
        """
        while not self.stopping.is_set():
            booked = await self.journal.reserve(Call(posed.key, route, model, *most))
            if not isinstance(booked, Refused):
                return Purchase(self, posed, route, most, booked)
            if booked is Refused.ANSWERED:
                return None
            if booked is Refused.TAKEN:
                await asyncio.sleep(TAKEN_POLL_S)
            elif not await self.journal.room():
                raise CapReached
        raise Stopped


class Purchase:
    """One call that is booked and under way."""

    def __init__(self, till: Till, posed: Posed, route: str, most: Used, call_id: int) -> None:
        self._till, self._posed, self._route, self._most = till, posed, route, most
        self._id, self._started_s = call_id, time.monotonic()

    @property
    def duration_s(self) -> float:
        """How long ago it was booked."""
        return time.monotonic() - self._started_s

    async def failed(self, fault: ProviderFault) -> None:
        """Settle a call without a reply: at its most, unless nothing can have been billed."""
        used = self._most if fault.may_cost else Used(0, 0, 0.0)
        await self._settle(fault.kind, fault.message, "", used, fault.may_cost)

    async def replied(self, reply: Reply, endpoint: Endpoint) -> None:
        """Settle a call by its reply, and keep that where it is an answer.

        No key is kept with it, should the reply repeat one.
        """
        redact = endpoint.redact
        used, is_bound = self._most, True
        if reply.prompt_tokens is not None and reply.completion_tokens is not None:
            used, is_bound = endpoint.used(reply.prompt_tokens, reply.completion_tokens), False
        said = self._posed.read(reply.text)
        if not isinstance(said, Unreadable):
            answer = Answer(
                self._route,
                redact(reply.model),
                redact(reply.text),
                tuple(said),
                *used,
                is_bound,
                reply.left_out,
                redact(reply.finish_reason),
            )
            self._till.tally[ANSWER] += 1
            await self._till.journal.keep(self._id, answer, self.duration_s)
            return
        is_filtered = reply.finish_reason == FaultKind.CONTENT_FILTER
        kind = FaultKind.CONTENT_FILTER if is_filtered else said.fault
        words = redact(f"{said.detail} (finish_reason: {reply.finish_reason})")
        await self._settle(kind, words, redact(reply.text[:KEPT_REPLY]), used, is_bound)

    async def _settle(
        self, outcome: str, message: str, reply: str, used: Used, is_bound: bool
    ) -> None:
        self._till.tally[outcome] += 1
        settled = Settled(outcome, message, reply, *used, is_bound, self.duration_s)
        await self._till.journal.settle(self._id, settled)
