"""Track spending: reserve each call at its upper bound, then settle or release it."""

import asyncio
import time
from collections import Counter
from http import HTTPStatus
from typing import NamedTuple

from tasks.lib.core.events import log
from tasks.lib.gateway.classify_error import MAX_MESSAGE
from tasks.lib.gateway.endpoint import Endpoint
from tasks.lib.gateway.errors import ErrorKind, ProviderError
from tasks.lib.gateway.prices import Tier
from tasks.lib.gateway.reply import CUT, Reply, UnusableReply
from tasks.lib.gateway.request import Request
from tasks.lib.gateway.task_pool import StopRun
from tasks.lib.journal.journal import Journal
from tasks.lib.journal.models import ANSWER, Answer, Call, CallCost, Refused, Settled

TAKEN_POLL_S = 0.2
KEPT_REMARK, MAX_REMARKS = 100, 5  # characters of a logged remark, and number of different remarks
KEPT_REPLY = 2000  # characters of an unusable reply that the re-ask quotes
NOTHING = CallCost(prompt_tokens=0, completion_tokens=0, usd=0.0, is_upper_bound=False)


class CapReached(StopRun):
    """The next call could cost more than what is left under the cap."""


class Stopped(StopRun):
    """The run is ending; no further call may begin."""


class Reservation(NamedTuple):
    """A call that is reserved at its upper bound."""

    id: int
    request: Request
    endpoint: Endpoint
    upper_bound: CallCost
    began_s: float
    tier: Tier = Tier.OWN

    @property
    def in_batch(self) -> bool:
        """Whether the call is part of a batch, which may outlive the run."""
        return self.tier is Tier.BATCHES

    @property
    def duration_s(self) -> float:
        """The seconds since the call was reserved; 0 in a batch, where they mean nothing."""
        return 0.0 if self.in_batch else time.monotonic() - self.began_s


def call_of(request: Request, endpoint: Endpoint, upper_bound: CallCost) -> Call:
    """Return a call about to be made, as the journal records it."""
    return Call(
        key=request.key,
        route=request.alias,
        model=endpoint.deployment.model,
        **upper_bound._asdict(),
    )


class SpendLedger:
    """Records the calls of a run in its journal, and refuses new calls once `stopping` is set."""

    def __init__(self, journal: Journal, stopping: asyncio.Event) -> None:
        self._journal, self._stopping = journal, stopping
        self._n_calls: Counter[str] = Counter()
        self._remarks: Counter[tuple[str, str]] = Counter()

    def report(self) -> None:
        """Log the number of failed calls by kind, if any failed."""
        failed = [f"{n:,} {kind}" for kind, n in self._n_calls.most_common() if kind != ANSWER]
        if failed:
            n_calls = f"{self._n_calls.total():,}"
            log.info("calls: %s; failed: %s", n_calls, ", ".join(failed))
        for (kind, remark), n in self._remarks.most_common(MAX_REMARKS):
            log.info("%s calls (%s): the provider said: %s", f"{n:,}", kind, remark)

    async def reserve(
        self, request: Request, endpoint: Endpoint, upper_bound: CallCost
    ) -> Reservation | None:
        """Reserve a call at its upper bound; return None if the journal now has its answer.

        Raises:
            CapReached: The call could cost more than is left, even after all running calls end.
            Stopped: The run is ending.
        """
        call = call_of(request, endpoint, upper_bound)
        while not self._stopping.is_set():
            reserved = await self._journal.reserve(call)
            if not isinstance(reserved, Refused):
                return Reservation(reserved, request, endpoint, upper_bound, time.monotonic())
            if reserved is Refused.ANSWERED:
                return None
            if reserved is Refused.TAKEN:
                await asyncio.sleep(TAKEN_POLL_S)
            elif not await self._journal.wait_for_room():
                raise CapReached
        raise Stopped

    async def release(self, reservation: Reservation, error: ProviderError) -> None:
        """Settle a call that got no reply: at its upper bound, or at 0 if it was not charged."""
        cost = reservation.upper_bound if error.may_cost else NOTHING
        await self._settle(reservation, cost, outcome=error.kind, message=error.message, reply="")

    async def settle(self, reservation: Reservation, reply: Reply) -> Answer | ProviderError | None:
        """Settle a call with its reply, and store and return the answer.

        Return None if the reply has no answer, and an error if the provider failed while it wrote
        the reply, or read only part of the prompt. API keys in the reply are redacted.
        """
        request, endpoint = reservation.request, reservation.endpoint
        redact = endpoint.redact
        most = reservation.upper_bound
        reply = endpoint.believed(reply, request, most)
        cut = endpoint.cut_watch.notice(request, reply)
        metered = reply._replace(prompt_tokens=None) if cut else reply  # its count is doubtful
        cost = endpoint.tariff.cost(metered, most, reservation.tier)
        remark = redact(reply.remark[:MAX_MESSAGE])
        error = _fault(reply) or cut or _lack(request, reply)
        if error:
            error.message = redact(error.message)
            facts = {"outcome": error.kind, "message": error.message, "reply": "", "remark": remark}
            await self._settle(reservation, cost, **facts)
            return error
        text = reply.logprobs if request.reads_logprobs else reply.text
        parsed = request.read(text)
        if isinstance(parsed, UnusableReply):
            outcome = _outcome(reservation, reply, parsed)
            message = f"{redact(parsed.detail)} (finish_reason: {remark})"
            quoted = redact(reply.text[:KEPT_REPLY])
            facts = {"outcome": outcome, "message": message, "reply": quoted, "remark": remark}
            await self._settle(reservation, cost, **facts)
            return None
        answer = Answer(
            key=request.key,
            route=request.alias,
            model=redact(reply.model),
            text=redact(text),
            parsed=tuple(parsed),
            dropped_params=reply.dropped_params,
            finish_reason=redact(reply.finish_reason),
            **cost._asdict(),
        )
        self._n_calls[ANSWER] += 1
        await self._journal.keep(
            reservation.id, answer, reservation.duration_s, in_batch=reservation.in_batch
        )
        return answer

    async def _settle(self, reservation: Reservation, cost: CallCost, **facts: str) -> None:
        """Settle a call without an answer; `facts` are the texts of `Settled`."""
        self._n_calls[facts["outcome"]] += 1
        if facts.get("remark") not in (None, "", "stop"):
            self._remarks[facts["outcome"], facts["remark"][:KEPT_REMARK]] += 1
        duration_s = reservation.duration_s
        settled = Settled(**facts, duration_s=duration_s, **cost._asdict())  # type: ignore[arg-type]
        await self._journal.settle(reservation.id, settled, in_batch=reservation.in_batch)


def _fault(reply: Reply) -> ProviderError | None:
    """Return the error inside a reply, or None."""
    if not reply.error:
        return None
    is_limited = reply.error.startswith(str(HTTPStatus.TOO_MANY_REQUESTS.value))
    kind = ErrorKind.RATE_LIMIT if is_limited else ErrorKind.SERVER
    return ProviderError(kind, reply.error[:MAX_MESSAGE])


def _lack(request: Request, reply: Reply) -> ProviderError | None:
    """Return an error if the log-probabilities that are needed are missing, otherwise None."""
    if not request.reads_logprobs or reply.logprobs or reply.is_refused or not reply.finish_reason:
        return None
    return ProviderError(ErrorKind.NO_LOGPROBS, "the reply has no top_logprobs")


def _outcome(reservation: Reservation, reply: Reply, parsed: UnusableReply) -> str:
    """Return why a reply has no answer."""
    room = reservation.upper_bound.completion_tokens
    is_cut = reply.finish_reason == CUT or (reply.completion_tokens or 0) >= room
    if is_cut and room < reservation.endpoint.parameters.widest(reservation.request):
        return ErrorKind.CUT_OFF
    return ErrorKind.CONTENT_FILTER if reply.is_refused else parsed.problem
