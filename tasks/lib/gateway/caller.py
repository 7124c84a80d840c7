"""One question put to one route until it is answered: what is tried again, and when to give up."""

import asyncio
import random
import time
from contextlib import suppress

from tasks.lib.gateway.endpoint import Endpoint, Habits, least_busy
from tasks.lib.gateway.errors import FaultKind, ProviderFault
from tasks.lib.gateway.fatal import FATAL, stop_for
from tasks.lib.gateway.ledger import Stopped, Till
from tasks.lib.gateway.prompt import Messages, reask
from tasks.lib.gateway.reply_json import AnswerFault
from tasks.lib.gateway.request import NoAnswer, Posed
from tasks.lib.gateway.routes import Route
from tasks.lib.gateway.workers import Gate
from tasks.lib.journal.models import Answer

MAX_BACKOFF_S = 60.0
MAX_RETRY_AFTER_S = 300.0  # a provider that asks for a longer wait is left alone
REST_S = 60.0  # for a route that is down, while another one stands in

MAX_USELESS = 2
"""Replies that are no answers: one to the question, one to that which names what was wrong."""

USELESS = tuple(AnswerFault)
HARMLESS = (
    FaultKind.REFUSED_PARAMETER,  # it is left out from now on
    FaultKind.CONTEXT_TOO_LONG,  # `Caller.recall` tells
    FaultKind.CONTENT_FILTER,
)
"""What counts as no failed attempt."""


class Caller:
    """Asks the model of a route, within one event loop; every call goes through the till.

    Args:
        route: Whose model.
        habits: How calls are made.
        till: Where they are booked.
        is_last: No other route stands in for this one, so the run ends when it is down.
    """

    def __init__(self, route: Route, habits: Habits, till: Till, *, is_last: bool) -> None:
        self.route, self._habits, self._till, self._is_last = route, habits, till, is_last
        self._endpoints = [Endpoint(d, route.where, habits) for d in route.deployments]
        is_embedded = route.deployments[0].is_embedded  # it works on one prompt at a time
        self._gate = Gate(1 if is_embedded else habits.concurrency)
        self._first = asyncio.Lock()
        self._is_ready = False
        self._succeeded_s = -1.0
        self._rests_until_s = 0.0

    def recall(self, posed: Posed) -> Answer | NoAnswer | None:
        """What earlier calls have shown: the answer, or that the model will not give one."""
        answer = self._till.journal.answer(posed.key)
        if answer is not None:
            return answer
        outcomes = [tried.outcome for tried in self._till.journal.tried(posed.key)]
        for no_answer in (NoAnswer.TOO_LONG, NoAnswer.FILTERED):
            if no_answer in outcomes:
                return no_answer
        n_useless = sum(outcome in USELESS for outcome in outcomes)
        return NoAnswer.USELESS if n_useless >= MAX_USELESS else None

    async def answer(self, posed: Posed) -> Answer | NoAnswer:
        """The answer, which is then in the journal, or why there is none.

        A journal that may not buy has all that there is.

        Raises:
            CapReached: A call could cost more than is left of the cap.
            Stopped: The run is ending.
            LLMError: The provider refuses for good; or it is down, and no other stands in.
            ParamError: The route's provider or price is unknown, or its key is not set.
        """
        if not self._till.journal.may_buy:
            return self.recall(posed) or NoAnswer.UNREACHED
        self.prepare()
        async with self._first:  # or as many as can wait would knock in turn where nobody is in
            if self._succeeded_s < 0:
                return await self._answer(posed)
        return await self._answer(posed)

    async def close(self) -> None:
        """Close the connections to the provider."""
        if self._is_ready:
            for endpoint in self._endpoints:
                await endpoint.client.close()

    async def _answer(self, posed: Posed) -> Answer | NoAnswer:
        """The same, with no regard to other questions."""
        n_failed, failing_since_s = 0, 0.0
        while (known := self.recall(posed)) is None:
            async with self._gate.place():
                if time.monotonic() < self._rests_until_s:
                    return NoAnswer.UNREACHED
                began_s = time.monotonic()
                with least_busy(self._endpoints).chosen() as endpoint:
                    fault = await self._call(posed, endpoint)
                if fault is not None and fault.kind in FATAL:
                    raise self._stop(fault, endpoint)  # before another call can begin
            if fault is None or fault.kind in HARMLESS:
                continue
            n_failed += 1
            failing_since_s = failing_since_s or began_s
            delay_s = self._delay_s(fault, n_failed)
            if n_failed < self._habits.max_attempts and delay_s <= MAX_RETRY_AFTER_S:
                await self._wait(fault, endpoint, delay_s)
            elif self._succeeded_s > failing_since_s:  # not the route, only this question
                return NoAnswer.UNREACHED
            elif self._is_last:
                raise self._stop(fault, endpoint)
            else:
                self._rests_until_s = time.monotonic() + REST_S
        return known

    def prepare(self) -> None:
        """Get ready for calls; not earlier, since a run may find all answers in the journal.

        Raises:
            ParamError: The route's provider or price is unknown, or its key is not set.
        """
        if self._till.journal.may_buy and not self._is_ready:
            for endpoint in self._endpoints:
                endpoint.client.prepare()
            self._is_ready = True

    async def _call(self, posed: Posed, endpoint: Endpoint) -> ProviderFault | None:
        """One call, booked before and after; the fault that it met, if any."""
        messages = self._messages(posed)
        most = endpoint.most(messages, posed.schema)
        model = endpoint.deployment.model
        start = await endpoint.start(most, self._till.stopping)
        purchase = await self._till.open(posed, self.route.alias, model, most)
        if purchase is None:  # another run has bought the answer
            start.n_tokens = 0
            return None
        try:
            reply = await endpoint.ask(messages, posed.schema, start)
        except ProviderFault as fault:
            await purchase.failed(fault)
            return fault
        self._succeeded_s = time.monotonic()
        self._gate.succeeded(purchase.duration_s)
        await purchase.replied(reply, endpoint)
        return None

    def _messages(self, posed: Posed) -> Messages:
        """The question, and after a useless reply that reply and what is wrong with it."""
        tried = self._till.journal.tried(posed.key)
        useless = [(t.reply, t.message) for t in tried if t.outcome in USELESS]
        if not useless:
            return posed.messages
        return [*posed.messages, *reask(*useless[-1], posed.reask)]

    def _delay_s(self, fault: ProviderFault, n_failed: int) -> float:
        if fault.retry_after_s is not None:
            return fault.retry_after_s
        longest_s: float = min(MAX_BACKOFF_S, self._habits.backoff_s * 2 ** (n_failed - 1))
        return random.uniform(longest_s / 2, longest_s)  # not all that failed together at once

    async def _wait(self, fault: ProviderFault, endpoint: Endpoint, delay_s: float) -> None:
        """Let the endpoint rest where it says that calls come too fast, else the question."""
        if fault.kind is FaultKind.RATE_LIMIT:
            endpoint.rest(delay_s)
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._till.stopping.wait(), delay_s)
        if self._till.stopping.is_set():
            raise Stopped

    def _stop(self, fault: ProviderFault, endpoint: Endpoint) -> Exception:
        """The end of the run, which is told to all who wait before anything else can begin."""
        self._till.stopping.set()
        return stop_for(fault, self.route, endpoint.deployment, self._till.journal.path)
