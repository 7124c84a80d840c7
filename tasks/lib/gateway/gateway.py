"""The only way to a model: an answer comes from the journal, or is bought and stored there."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

from tasks.lib.core.events import log
from tasks.lib.gateway.backoff import retry_delay_s
from tasks.lib.gateway.concurrency_limit import ConcurrencyLimit
from tasks.lib.gateway.endpoint import Endpoint, least_busy
from tasks.lib.gateway.errors import ErrorKind, ProviderError
from tasks.lib.gateway.fatal_error import FATAL, run_error
from tasks.lib.gateway.journal_lookup import USELESS, failed_attempts, find_answer, no_answer
from tasks.lib.gateway.ledger import SpendLedger, Stopped
from tasks.lib.gateway.request import CallSettings, Messages, NoAnswer, Request
from tasks.lib.gateway.routes import Route
from tasks.lib.journal.journal import Journal
from tasks.lib.journal.models import Answer, FailedAttempt

MAX_RETRY_AFTER_S = 300.0  # an endpoint that demands a longer wait counts as down
REST_S = 60.0  # for a route that is down, while the next route is tried

HARMLESS = (
    ErrorKind.REFUSED_PARAMETER,  # no longer sent
    ErrorKind.CONTEXT_TOO_LONG,  # these two end the question: see `no_answer`
    ErrorKind.CONTENT_FILTER,
)
"""Errors that do not count as failed attempts."""


class _RouteState:
    """The endpoints of a route, and the outcome of the calls so far."""

    def __init__(self, route: Route, settings: CallSettings, *, is_last: bool) -> None:
        self.route, self.is_last = route, is_last
        self.endpoints = [Endpoint(d, route.where, settings.timeout_s) for d in route.deployments]
        is_local = route.deployments[0].is_local  # it works on one prompt at a time
        longest_s = max(endpoint.timeout_s for endpoint in self.endpoints)
        self.limit = ConcurrencyLimit(1 if is_local else settings.concurrency, longest_s)
        self.first_call = asyncio.Lock()
        self.succeeded_s = -1.0  # when a call last got a reply
        self.rests_until_s = 0.0

    def timed_out(self, began_s: float) -> bool:
        """Make fewer calls at once if most of them time out.

        Return whether more calls ran at once than now when the call that timed out began; then it
        says nothing about its question.
        """
        limit = self.limit.timed_out(began_s)
        if limit:
            log.warning(
                "%s: most calls take longer than timeout_s, so only %d run at once from now on, "
                "and more once they are faster. To prevent this, lower llm_select.concurrency or "
                "raise timeout_s.",
                self.route.alias,
                limit,
            )
        return began_s < self.limit.lowered_s

    def make_room(self, attempts: Sequence[FailedAttempt]) -> None:
        """Give the route's replies more room if one to this question was cut off."""
        if any(attempt.outcome == ErrorKind.CUT_OFF for attempt in attempts):
            for endpoint in self.endpoints:
                endpoint.parameters.give_more_room()


class Gateway:
    """Sends questions to the models of some routes, within one event loop.

    It looks up every answer in the journal first, and stores each new answer there before
    returning it.

    Attributes:
        stopping: Set when the run has to end, before any other call can begin.
        ledger: Records the calls.

    Args:
        routes: The routes in the order in which they are tried. The run ends only if
            the last route is down.
        settings: How calls are made.
        journal: Stores answers and spending.
    """

    def __init__(self, routes: Sequence[Route], settings: CallSettings, journal: Journal) -> None:
        self.stopping = asyncio.Event()
        self._settings, self._journal = settings, journal
        self.ledger = SpendLedger(journal, self.stopping)
        self._states = {
            route.alias: _RouteState(route, settings, is_last=route is routes[-1])
            for route in routes
        }
        self._is_ready = False

    async def lookup(self, request: Request) -> Answer | NoAnswer | None:
        """Return the answer in the journal, or why earlier calls got none; None if unknown."""
        answer = await self._find(request)
        return answer or no_answer(failed_attempts(self._journal, request))

    async def ask(self, request: Request) -> Answer | NoAnswer:
        """Return the answer, which is then in the journal, or why there is none.

        Raises:
            CapReached: A call could cost more than is left of the cap.
            Stopped: The run is ending.
            LLMError: The provider refuses permanently, or the last route is down.
            ParamError: A route's provider or price is unknown, or its key is not set.
        """
        answer = await self._find(request)
        if answer:
            return answer
        attempts = failed_attempts(self._journal, request)
        reason = no_answer(attempts)
        if reason:
            return reason
        self._prepare()
        state = self._states[request.alias]
        async with state.first_call:  # otherwise every waiting task would probe a dead endpoint
            if state.succeeded_s < 0:
                return await self._ask(request, attempts, state)
        return await self._ask(request, attempts, state)

    def endpoint(self, alias: str) -> Endpoint:
        """Return the first endpoint of a route, ready for calls."""
        self._prepare()
        return self._states[alias].endpoints[0]

    async def aclose(self) -> None:
        """Close the connections, and log in one line which calls failed."""
        for state in self._states.values():
            for endpoint in state.endpoints:
                await endpoint.close()
        self.ledger.report()

    async def _find(self, request: Request) -> Answer | None:
        """Return the answer in the journal.

        If it is stored under an old key, store it under the new one.
        """
        journal = self._journal
        answer = find_answer(journal, request)
        if answer and journal.has_former_keys and not journal.answer(request.key):
            await journal.adopt(request.key, request.former_key)
        return answer

    def _prepare(self) -> None:
        """Prepare all routes once, when the first call is needed, since it takes seconds."""
        if not self._is_ready:
            for state in self._states.values():  # a bad fallback must fail now, not when needed
                for endpoint in state.endpoints:
                    endpoint.prepare()
            self._is_ready = True

    async def _ask(
        self, request: Request, attempts: list[FailedAttempt], state: _RouteState
    ) -> Answer | NoAnswer:
        """Call the route until it answers, or until no further call is worth making."""
        n_failed, failing_since_s = 0, 0.0
        while (reason := no_answer(attempts)) is None:
            state.make_room(attempts)
            async with state.limit.place():
                if time.monotonic() < state.rests_until_s:
                    return NoAnswer.UNREACHED
                began_s = time.monotonic()
                with least_busy(state.endpoints).chosen() as endpoint:
                    result = await self._call(
                        request, _messages(request, attempts), endpoint, state
                    )
                if isinstance(result, ProviderError) and result.kind in FATAL:
                    raise self._stop(result, state, endpoint)  # before another call can begin
            if isinstance(result, Answer):
                return result
            attempts = failed_attempts(self._journal, request)
            if result is None or result.kind in HARMLESS:
                continue
            if result.kind is ErrorKind.TIMEOUT and state.timed_out(began_s):
                continue
            n_failed += 1
            failing_since_s = failing_since_s or began_s
            delay_s = retry_delay_s(result, n_failed, self._settings.backoff_s)
            if n_failed < self._settings.max_attempts and delay_s <= MAX_RETRY_AFTER_S:
                await self._wait(result, endpoint, delay_s)
            elif state.succeeded_s > failing_since_s:  # only this question fails, not the route
                return NoAnswer.UNREACHED
            elif state.is_last:
                raise self._stop(result, state, endpoint)
            else:
                state.rests_until_s = time.monotonic() + REST_S
        return reason

    async def _call(
        self, request: Request, messages: Messages, endpoint: Endpoint, state: _RouteState
    ) -> Answer | ProviderError | None:
        """Reserve, make and settle one call; return None if its reply cannot be used."""
        upper_bound = endpoint.upper_bound(request, messages)
        permit = await endpoint.acquire(upper_bound, self.stopping)
        reservation = await self.ledger.reserve(request, endpoint, upper_bound)
        if reservation is None:  # another run has already bought the answer
            permit.n_tokens = 0
            return await self._find(request)
        try:
            room = upper_bound.completion_tokens
            reply = await endpoint.ask(request, messages, permit, room)
        except ProviderError as error:
            await self.ledger.release(reservation, error)
            return error
        result = await self.ledger.settle(reservation, reply)
        if not isinstance(result, ProviderError):
            state.succeeded_s = time.monotonic()
            state.limit.succeeded(reservation.duration_s)
        return result

    async def _wait(self, error: ProviderError, endpoint: Endpoint, delay_s: float) -> None:
        """Let the endpoint rest after a rate limit error; otherwise delay only this question."""
        if error.kind is ErrorKind.RATE_LIMIT:
            endpoint.rest(delay_s)
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), delay_s)
        if self.stopping.is_set():
            raise Stopped

    def _stop(self, error: ProviderError, state: _RouteState, endpoint: Endpoint) -> Exception:
        """Return the error that ends the run, and stop all waiting questions."""
        self.stopping.set()
        return run_error(error, state.route, endpoint.deployment, self._journal.path)


def _messages(request: Request, attempts: Sequence[FailedAttempt]) -> Messages:
    """Return the question or, after an unusable reply, a re-ask that quotes the reply."""
    useless = [attempt for attempt in attempts if attempt.outcome in USELESS]
    return request.reask(useless[-1].reply, useless[-1].message) if useless else request.messages
