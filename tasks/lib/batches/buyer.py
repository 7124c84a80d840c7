"""Buy the answers to many questions in batches, which cost half as much and take up to 24 hours.

A `BatchBuyer` is given all questions again and again. It answers them from the journal and
collects requests for those without an answer, until no batch can yield another answer:

    collect and reserve -> upload -> create -> wait -> download
       ^                                                  |
       +---- repeat all questions: store the replies -----+

A batch and its reservations outlive the run (`tasks.lib.batches.store`), so a run that is killed at
any point continues with the same batch. Requests that batches leave unanswered are sent one by one.
So are re-asks after unusable replies and the parts of overlong prompts: these are few, and take
seconds instead of hours.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from tasks.lib.batches.api import BatchApi
from tasks.lib.batches.job import BatchJob, Ending, run_all
from tasks.lib.batches.lines import request_line
from tasks.lib.batches.store import MAX_BYTES, Phase, StoredBatch, left_behind
from tasks.lib.core.events import log
from tasks.lib.gateway.endpoint import Endpoint
from tasks.lib.gateway.errors import ErrorKind, ProviderError
from tasks.lib.gateway.gateway import Gateway
from tasks.lib.gateway.journal_lookup import USELESS, Pending, failed_attempts
from tasks.lib.gateway.ledger import CapReached, Reservation, call_of
from tasks.lib.gateway.prices import Tier
from tasks.lib.gateway.reply import Reply
from tasks.lib.gateway.request import CallSettings, NoAnswer, Request
from tasks.lib.gateway.routes import Route
from tasks.lib.journal.journal import Journal
from tasks.lib.journal.live_runs import batch_file
from tasks.lib.journal.models import Answer, OpenCall, Refused

MAX_ROUNDS = 2
"""Each may take a day: one for the votes that are always cast, and one for the others. Rounds in
which a limit held requests back do not count."""


class BatchBuyer:
    """Answers questions from the journal, and collects requests for batches on one route.

    Attributes:
        stopping: Set when the run has to end.
        unanswered: The keys of requests that a batch left without a reply.

    Args:
        gateway: Makes the first call of the route, so that a wrong key or parameter is noticed
            before a batch is sent.
        route: The route whose requests are collected; others are sent one by one.
        settings: How calls are made.
        journal: Stores answers and spending.
        is_buying: Whether to collect requests. If not, unfinished batches of earlier runs are
            cancelled, and any replies to them are stored.
    """

    def __init__(
        self,
        gateway: Gateway,
        route: Route,
        settings: CallSettings,
        journal: Journal,
        *,
        is_buying: bool,
    ) -> None:
        self.stopping = gateway.stopping
        self.unanswered: set[str] = set()
        self._gateway, self._route, self._settings = gateway, route, settings
        self._journal, self._is_cancelling = journal, not is_buying
        self._n_rounds_left = MAX_ROUNDS if is_buying else 0
        self._max_bytes = MAX_BYTES
        self._first = asyncio.Lock()
        self._is_tried = self._is_capped = False
        self._replies: dict[str, tuple[OpenCall, Reply]] = {}
        self._new: list[StoredBatch] = []
        self._held: set[str] = set()

    async def buy(self, put_questions: Callable[["BatchBuyer"], Awaitable[object]]) -> None:
        """Repeat all questions until no batch can bring another answer.

        Raises:
            LLMError: The provider refuses, or cannot be reached.
            ParamError: The price of a batch is unknown, or the route has changed since an
                unfinished batch was sent.
        """
        for batch in left_behind(self._journal.own_file):
            if batch.state.phase is Phase.COLLECTING:  # it was not sent
                await self._job(batch).give_back()
            else:
                self._job(batch).finish()
        jobs: list[BatchJob] = []
        try:
            while True:
                await self._put(put_questions)
                for job in jobs:
                    job.finish()
                jobs = self._jobs()
                if not jobs:
                    return
                self._take_in(await run_all(jobs))
        finally:
            for batch in self._new:
                batch.release()

    async def lookup(self, request: Request) -> Answer | NoAnswer | None:
        """Return the answer in the journal, or why earlier calls got none; None if unknown."""
        return await self._gateway.lookup(request)

    async def ask(self, request: Request) -> Answer | NoAnswer:
        """Return the answer in the journal or in a batch's replies, or why there is none.

        Raises:
            Pending: There is no result yet. The request was collected if a batch can take it.
        """
        known = await self.lookup(request) or await self._store_reply(request)
        if isinstance(known, NoAnswer) and known.may_need_fewer_texts:  # few, and several in a row
            raise Pending
        if known:
            return known
        holder = self._journal.holder(request.key)
        if holder:
            if batch_file(self._journal.own_file, holder).exists():
                self._held.add(holder)
        elif self._is_wanted(request):
            tried = await self._try_route(request)
            if tried:
                return tried
            await self._collect(request)
        raise Pending

    async def _put(self, put_questions: Callable[["BatchBuyer"], Awaitable[object]]) -> None:
        """Receive all questions once, which fills the lists of new batches and of held batches."""
        self._new, self._held, self._is_capped = [], set(), False
        await put_questions(self)
        n_requests = sum(batch.state.n_requests for batch in self._new)
        for batch in self._new:
            batch.seal()
        self._held -= {batch.marker for batch in self._new}
        if self._is_capped and n_requests:
            log.warning(
                "llm_select.max_usd allows only %s requests at once, since the maximum cost of "
                "each is reserved; the next batch is sent when these are done",
                f"{n_requests:,}",
            )

    async def _store_reply(self, request: Request) -> Answer | NoAnswer | None:
        """Settle the reply that a batch brought for the request; return the result, if any."""
        found = self._replies.pop(request.key, None)
        if found is None:
            return None
        call, reply = found
        reservation = Reservation(call.id, request, self._endpoint, call.cost, 0.0, Tier.BATCHES)
        result = await self._gateway.ledger.settle(reservation, reply)
        if isinstance(result, ProviderError):
            self.unanswered.add(request.key)
        return result if isinstance(result, Answer) else await self.lookup(request)

    def _is_wanted(self, request: Request) -> bool:
        """Return whether the answer should come from a batch."""
        may_collect = self._n_rounds_left > 0 and not self._is_capped
        if not may_collect or request.alias != self._route.alias:
            return False
        attempts = failed_attempts(self._journal, request)
        had_reply = any(attempt.outcome in (*USELESS, ErrorKind.CUT_OFF) for attempt in attempts)
        return not had_reply and request.key not in self.unanswered

    async def _try_route(self, request: Request) -> Answer | NoAnswer | None:
        """Make the first call of this run alone; return its result, or None if already made."""
        async with self._first:
            if self._is_tried:
                return None
            self._is_tried = True
            try:
                result = await self._gateway.ask(request)
            except CapReached:
                self._is_capped = True
                raise Pending from None
            if result is NoAnswer.UNREACHED:  # the fallback routes may do better
                self._n_rounds_left = 0
            return result

    async def _collect(self, request: Request) -> None:
        """Reserve a request, and add it to a batch."""
        if not self._is_wanted(request):  # as the first call has shown
            return
        endpoint = self._endpoint
        line = request_line(request, endpoint)
        batch = self._new[-1] if self._new else None
        if batch is None or not batch.has_room(line, self._max_bytes):
            batch = StoredBatch.new(self._journal.own_file, endpoint.deployment)
            self._new.append(batch)
        batch.take(line)  # before others can, while this one waits for its reservation
        most = endpoint.upper_bound(request, request.messages, Tier.BATCHES)
        reserved = await self._journal.reserve(call_of(request, endpoint, most), batch.marker)
        if not isinstance(reserved, Refused):
            batch.add(line)
        elif reserved is Refused.OVER_CAP:
            self._is_capped = True

    @property
    def _endpoint(self) -> Endpoint:
        endpoint = self._gateway.endpoint(self._route.alias)
        endpoint.tariff.load(Tier.BATCHES)
        return endpoint

    def _jobs(self) -> list[BatchJob]:
        """Return the jobs for the new batches and for those with calls that we need."""
        new = [batch for batch in self._new if not batch.is_empty]
        held = [StoredBatch(self._journal.own_file, marker) for marker in sorted(self._held)]
        return [self._job(batch) for batch in (*new, *held)]

    def _job(self, batch: StoredBatch) -> BatchJob:
        settings, journal = self._settings, self._journal
        return BatchJob(
            batch,
            self._route,
            self._endpoint,
            BatchApi(self._route, self._endpoint, settings, journal.own_file),
            journal,
            poll_s=settings.backoff_s,
            is_cancelled=self._is_cancelling,
        )

    def _take_in(self, endings: Sequence[Ending]) -> None:
        """Record the outcomes of the batches of a round."""
        for ending in endings:
            self._replies |= ending.replies
            self.unanswered |= ending.unanswered
        if self._new and all(ending.is_over_limit for ending in endings):
            self._max_bytes = max(batch.n_bytes for batch in self._new) // 2
        is_limited = any(ending.is_over_limit for ending in endings)
        self._n_rounds_left -= not (is_limited or self._is_capped)
