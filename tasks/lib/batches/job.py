"""Complete one batch: submit it, wait, read its files, and record which calls got no reply."""

import asyncio
import gc
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tasks.lib.batches.api import BatchApi, BatchState
from tasks.lib.batches.lines import read_results
from tasks.lib.batches.store import Phase, StoredBatch
from tasks.lib.core.errors import LLMError, ParamError
from tasks.lib.core.events import log
from tasks.lib.core.params import PARAMS_FILE
from tasks.lib.gateway.endpoint import Endpoint
from tasks.lib.gateway.errors import ErrorKind, ProviderError
from tasks.lib.gateway.ledger import NOTHING as FREE_CALL
from tasks.lib.gateway.reply import Reply
from tasks.lib.gateway.routes import Route
from tasks.lib.journal.journal import Journal
from tasks.lib.journal.models import OpenCall, Settled

POLL_S = 60.0
"""The longest pause between two polls of a batch; the first pauses are shorter."""
APPEAR_S = 10.0
"""A batch that was being created when its run was killed is listed by then, if it exists."""
OVER_LIMIT = "token_limit_exceeded"


class Ending(NamedTuple):
    """The outcome of a batch."""

    replies: dict[str, tuple[OpenCall, Reply]]  # by key; their calls are still open
    unanswered: frozenset[str]  # the keys of the other requests; their calls are settled
    is_over_limit: bool  # the provider refused the batch, but may accept a smaller one


NOTHING = Ending({}, frozenset(), is_over_limit=False)


class BatchJob:
    """Runs one batch, which an earlier run may have begun.

    Args:
        batch: The batch.
        route: Its route.
        endpoint: The endpoint that it was collected for.
        api: The batch functions of the endpoint.
        journal: Contains the batch's open calls.
        poll_s: The first pause between two polls; doubled after each poll, up to `POLL_S`.
        is_cancelled: Whether to cancel the batch first.
    """

    def __init__(  # noqa: PLR0913
        self,
        batch: StoredBatch,
        route: Route,
        endpoint: Endpoint,
        api: BatchApi,
        journal: Journal,
        *,
        poll_s: float,
        is_cancelled: bool,
    ) -> None:
        self._batch, self._route, self._endpoint, self._api = batch, route, endpoint, api
        self._journal, self._poll_s, self._is_cancelled = journal, poll_s, is_cancelled

    async def run(self) -> Ending:
        """Return the outcome of the batch, once it has ended at the provider.

        Raises:
            LLMError: The provider refuses the batch, or cannot be reached.
            ParamError: The batch's address differs from the route's.
        """
        batch = self._batch
        while not batch.try_hold():  # another run waits for the same batch
            await asyncio.sleep(self._poll_s)
        if not batch.exists:  # the other run finished it
            return NOTHING
        self._require_address()
        if not batch.state.batch_id and not await self._submit():
            await self.give_back()
            return NOTHING
        if self._is_cancelled:
            await self._api.cancel(batch.state.batch_id)
        ended = await self._wait()
        if ended.status != "failed" or ended.n_completed:
            return await self._collect(ended)
        await self.give_back()
        if ended.problem_code == OVER_LIMIT and batch.state.n_requests > 1:
            log.warning("batch %s is over the provider's limit: %s", ended.id, ended.problem)
            return NOTHING._replace(is_over_limit=True)
        raise LLMError(
            f"the provider refused batch {ended.id}, at no cost: {ended.problem or 'no reason'}",
            where=self._route.where,
            fix="Fix the cause and run this again, or set llm_select.batch: false to send the "
            "requests one by one at the standard price.",
        )

    async def give_back(self) -> None:
        """Settle the calls of a batch that was never processed, at no cost; forget the batch."""
        await self._settle(self._journal.open_calls(self._batch.marker), {}, may_cost=False)
        self._batch.remove()

    def finish(self) -> None:
        """Forget the batch if all its calls are settled; otherwise leave it to a later run."""
        if self._journal.open_calls(self._batch.marker):
            self._batch.release()
        else:
            self._batch.remove()

    def _require_address(self) -> None:
        state, deployment = self._batch.state, self._endpoint.deployment
        if (state.model, state.api_base) != (deployment.model, deployment.api_base):
            raise ParamError(
                f"answers that this selection needs are in an unfinished batch of {state.model} "
                f"at {state.api_base or 'its own address'}, not at {deployment.endpoint}",
                where=f"{PARAMS_FILE}: {self._route.where}",
                fix=f"Restore the route, so that they can be fetched, or delete {self._batch.path} "
                "to pay for them again.",
            )

    async def _submit(self) -> bool:
        """Upload the requests and create the batch; return False if there is no batch to await."""
        batch, api = self._batch, self._api
        if batch.state.phase is Phase.SUBMITTING:
            since_s = time.time() - batch.state.submitting_at
            await asyncio.sleep(max(0.0, min(APPEAR_S, APPEAR_S - since_s)))
            found = await api.find(batch.marker)
            if found:
                batch.save(phase=Phase.SUBMITTED, batch_id=found.id)
                return True
        if self._is_cancelled or batch.state.phase is Phase.COLLECTING:
            return False
        if not batch.state.file_id:
            batch.save(file_id=await api.upload(batch.requests_path))
        batch.begin_submitting()
        created = await api.create(batch.state.file_id, batch.marker)
        batch.save(phase=Phase.SUBMITTED, batch_id=created.id)
        log.info(
            "batch %s: %s requests sent; it may take up to 24 hours. Ctrl-C stops only this run, "
            "and the next run continues with the batch",
            created.id,
            f"{batch.state.n_requests:,}",
        )
        return True

    async def _wait(self) -> BatchState:
        """Return the state of the batch once it has ended; log its progress."""
        pause_s, shown = self._poll_s, ""
        while True:
            state = await self._api.state(self._batch.state.batch_id)
            n_done = state.n_completed + state.n_failed
            progress = f"{n_done:,} of {self._batch.state.n_requests:,} done ({state.status})"
            if progress != shown:
                log.info("batch %s: %s", state.id, progress)
                shown = progress
            if state.has_ended:
                return state
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, POLL_S)
            if pause_s == POLL_S:
                gc.collect()  # LiteLLM leaves a connection open after each of these calls

    async def _collect(self, ended: BatchState) -> Ending:
        """Return the replies of a batch, and settle the calls that have none."""
        contents = []
        for file_id in ended.file_ids:
            content = await self._api.content(file_id)
            if content is None:
                log.warning("batch %s: the provider no longer has file %s", ended.id, file_id)
            else:
                contents.append(content)
        calls = self._journal.open_calls(self._batch.marker)
        results = read_results(contents, calls.keys(), self._endpoint)
        if results.n_unreadable:
            log.warning(
                "batch %s: %s lines of its files cannot be read", ended.id, results.n_unreadable
            )
        missing = {key: call for key, call in calls.items() if key not in results.replies}
        if missing:
            log.warning(
                "batch %s (%s): %s of %s requests have no reply",
                ended.id,
                ended.status,
                f"{len(missing):,}",
                f"{self._batch.state.n_requests:,}",
            )
        may_cost = (  # there may be replies that did not arrive
            len(results.replies) < ended.n_completed
            or results.n_unreadable > 0
            or len(contents) < len(ended.file_ids)
            or ended.status == "completed"
        )
        await self._settle(missing, results.errors, may_cost=may_cost)
        replies = {
            key: (call, results.replies[key]) for key, call in calls.items() if key not in missing
        }
        return Ending(replies, frozenset(missing), is_over_limit=False)

    async def _settle(
        self,
        calls: Mapping[str, OpenCall],
        errors: Mapping[str, ProviderError],
        *,
        may_cost: bool,
    ) -> None:
        """Settle calls without a reply: at no cost, or at their upper bound if they may cost."""
        silent = ProviderError(ErrorKind.UNFINISHED, "the batch has no reply", may_cost=may_cost)
        outcomes = {}
        for key, call in calls.items():
            error = errors.get(key, silent)
            cost = call.cost if error.may_cost else FREE_CALL
            outcomes[call.id] = Settled(
                outcome=error.kind,
                message=error.message,
                reply="",
                duration_s=0.0,
                **cost._asdict(),
            )
        await self._journal.settle_batch(outcomes)


async def run_all(jobs: Sequence[BatchJob]) -> list[Ending]:
    """Return the endings of all jobs, in order; if one fails, stop waiting for the others.

    Raises:
        LLMError: As for `BatchJob.run`.
        ParamError: As for `BatchJob.run`.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job.run()) for job in jobs]
    except ExceptionGroup as group_error:
        raise group_error.exceptions[0] from None
    return [task.result() for task in tasks]
