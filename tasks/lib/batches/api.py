"""Call a provider's batch and file endpoints through LiteLLM, with retries."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from tasks.lib.core.errors import ParamError
from tasks.lib.core.params import PARAMS_FILE
from tasks.lib.gateway.backoff import retry_delay_s
from tasks.lib.gateway.credentials import NO_KEY
from tasks.lib.gateway.endpoint import Endpoint
from tasks.lib.gateway.errors import ErrorKind, ProviderError
from tasks.lib.gateway.fatal_error import FATAL, run_error
from tasks.lib.gateway.litellm_setup import load_litellm
from tasks.lib.gateway.reply_limits import watch_exchange
from tasks.lib.gateway.request import CallSettings
from tasks.lib.gateway.routes import Route

PROVIDERS = ("openai", "azure", "hosted_vllm")
"""Providers whose batches LiteLLM sends in OpenAI's format and lists with their metadata. It also
sends batches to vertex_ai, bedrock, mistral and xai, but a lost one could not be found again."""
URL = "/v1/chat/completions"
MARKER = "selectllm"  # the metadata key by which a batch is found again
PAGE, MAX_PAGES = 100, 20  # batches listed to find one; the newest come first
BAD = (ErrorKind.BAD_REQUEST,)
MAX_WAIT_S = 300.0  # before a retry, whatever the provider asks for
TRANSFER_S = 600.0  # the time limit of one upload or download

T = TypeVar("T")


def require_batches(route: Route) -> None:
    """Raise an error if the requests of a route cannot be sent in batches.

    Raises:
        ParamError: Its provider has no batches that we can use, or an address is missing.
    """
    deployment = route.deployments[0]
    if deployment.provider not in PROVIDERS:
        raise ParamError(
            f"llm_select.batch is true, but {deployment.provider} has no batches that SelectLLM "
            "can use",
            where=f"{PARAMS_FILE}: {route.where}",
            fix="Set llm_select.batch: false, or choose a route to one of "
            f"{', '.join(PROVIDERS)}. Some openai and gemini models also cost half as much with "
            "service_tier: flex.",
        )
    if deployment.provider == "hosted_vllm" and deployment.api_base is None:
        raise ParamError(
            "llm_select.batch is true, but the route has no api_base",
            where=f"{PARAMS_FILE}: {route.where}",
            fix="Add the address of the server that has the batch endpoints.",
        )


class BatchState(NamedTuple):
    """A batch as its provider reports it."""

    id: str
    status: str
    n_completed: int
    n_failed: int
    file_ids: tuple[str, ...]  # of replies and of errors
    problem: str  # why the provider refused the batch
    problem_code: str

    @property
    def has_ended(self) -> bool:
        """Whether the provider has finished with the batch."""
        return self.status in ("completed", "failed", "expired", "cancelled")

    @classmethod
    def of(cls, batch: Any) -> Self:
        """Return the state in a batch object; missing parts become empty or 0."""
        counts, errors = batch.request_counts, batch.errors
        problems = (errors.data or []) if errors else []
        return cls(
            id=batch.id,
            status=batch.status,
            n_completed=counts.completed if counts else 0,
            n_failed=counts.failed if counts else 0,
            file_ids=tuple(i for i in (batch.output_file_id, batch.error_file_id) if i),
            problem="; ".join(dict.fromkeys(str(error.message) for error in problems))[:500],
            problem_code=next((str(error.code) for error in problems if error.code), ""),
        )


class BatchApi:
    """The batch endpoints of one deployment.

    Every method retries temporary errors, and raises ``LLMError`` when they persist or when a
    retry cannot help.
    """

    def __init__(
        self, route: Route, endpoint: Endpoint, settings: CallSettings, journal: Path
    ) -> None:
        self._route, self._endpoint, self._settings = route, endpoint, settings
        self._journal = journal
        self._provider = endpoint.deployment.provider
        self._address = endpoint.address
        if self._provider == "hosted_vllm":  # otherwise LiteLLM would send it OpenAI's key
            self._address.setdefault("api_key", NO_KEY)

    async def upload(self, path: Path) -> str:
        """Upload a file of requests, and return its id."""

        async def upload() -> Any:
            with path.open("rb") as file:
                return await self._call("acreate_file", file=(path.name, file), purpose="batch")

        return str((await self._retried(upload)).id)

    async def create(self, file_id: str, marker: str) -> BatchState:
        """Create the batch with this marker, and return its state.

        A request without a response may have created the batch, so a retry looks for it first.
        """
        is_retry = False

        async def create() -> BatchState:
            nonlocal is_retry
            found = await self._find(marker) if is_retry else None
            is_retry = True
            return found or BatchState.of(
                await self._call(
                    "acreate_batch",
                    completion_window="24h",
                    endpoint=URL,
                    input_file_id=file_id,
                    metadata={MARKER: marker},
                )
            )

        return await self._retried(create)

    async def find(self, marker: str) -> BatchState | None:
        """Return the state of the batch with this marker, or None if it does not exist."""
        return await self._retried(lambda: self._find(marker))

    async def state(self, batch_id: str) -> BatchState:
        """Return the state of a batch."""
        return await self._retried(lambda: self._state(batch_id))

    async def cancel(self, batch_id: str) -> None:
        """Ask the provider to stop a batch, unless it has ended in the meantime."""
        with suppress(ProviderError):
            await self._retried(lambda: self._call("acancel_batch", batch_id=batch_id), BAD)

    async def content(self, file_id: str) -> bytes | None:
        """Return the contents of a file, or None if the provider no longer has it."""
        try:
            got = await self._retried(lambda: self._call("afile_content", file_id=file_id), BAD)
        except ProviderError:
            return None
        return bytes(got.content)

    async def _find(self, marker: str) -> BatchState | None:
        """Return the batch with this marker among the newest ones."""
        after = None
        for _ in range(MAX_PAGES):
            page = await self._call("alist_batches", limit=PAGE, after=after)
            batches = page.data if isinstance(page.data, list) else []
            for batch in batches:
                metadata = getattr(batch, "metadata", None)
                if isinstance(metadata, dict) and metadata.get(MARKER) == marker:
                    return await self._state(batch.id)
            if not batches or not getattr(page, "has_more", False):
                break
            after = getattr(batches[-1], "id", None)
        return None

    async def _state(self, batch_id: str) -> BatchState:
        """Return the state of a batch; LiteLLM checks the types of this response."""
        return BatchState.of(await self._call("aretrieve_batch", batch_id=batch_id))

    async def _call(self, function: str, **arguments: Any) -> Any:
        """Call a LiteLLM function once.

        Raises:
            ProviderError: The call failed.
        """
        exchange = watch_exchange()
        try:
            async with asyncio.timeout(TRANSFER_S):
                return await getattr(load_litellm(), function)(
                    custom_llm_provider=self._provider,
                    max_retries=0,
                    timeout=TRANSFER_S,
                    **self._address,
                    **arguments,
                )
        except TimeoutError:
            words = f"no complete reply within {TRANSFER_S:g} s"
            raise ProviderError(ErrorKind.TIMEOUT, words) from None
        except Exception as error:  # LiteLLM raises its own errors and other libraries' errors
            raise self._endpoint.classified(error, exchange) from None

    async def _retried(
        self, call: Callable[[], Awaitable[T]], passed_on: tuple[ErrorKind, ...] = ()
    ) -> T:
        """Return the result of a call, after retries if necessary.

        Raises:
            LLMError: The error persists, or a retry cannot help.
            ProviderError: The error is of a kind that is passed on to the caller.
        """
        n_failed = 0
        while True:
            failure: ProviderError | None = None
            try:
                return await call()
            except ProviderError as error:
                failure = error.with_traceback(None)
                failure.__context__ = None  # it refers to the client
            n_failed += 1
            if failure.kind in passed_on:
                raise failure
            if failure.kind in FATAL or n_failed >= self._settings.max_attempts:
                deployment = self._endpoint.deployment
                raise run_error(failure, self._route, deployment, self._journal)
            await asyncio.sleep(
                min(retry_delay_s(failure, n_failed, self._settings.backoff_s), MAX_WAIT_S)
            )
