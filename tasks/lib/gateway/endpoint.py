"""Call one deployment through LiteLLM, within its rate limits."""

import asyncio
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Self

from tasks.lib.core.errors import ParamError
from tasks.lib.core.events import log
from tasks.lib.core.params import PARAMS_FILE
from tasks.lib.gateway.accepted_parameters import Parameters, headers
from tasks.lib.gateway.classify_error import provider_error
from tasks.lib.gateway.credentials import (
    NO_KEY,
    VARIABLES,
    key_variable,
    missing_variables,
    redact,
)
from tasks.lib.gateway.deployment_settings import Deployment
from tasks.lib.gateway.errors import ErrorKind, ProviderError
from tasks.lib.gateway.litellm_setup import load_litellm, skip_accounting
from tasks.lib.gateway.local_server import LocalServer
from tasks.lib.gateway.plausible_usage import impossible_usage
from tasks.lib.gateway.prices import FLEX, Tier, max_prompt_tokens
from tasks.lib.gateway.rate_limit import Permit, RateLimiter
from tasks.lib.gateway.reply import Reply, read_reply
from tasks.lib.gateway.reply_limits import HttpExchange, watch_exchange
from tasks.lib.gateway.request import Messages, Request
from tasks.lib.gateway.routes import missing_key_error
from tasks.lib.gateway.tariff import Tariff
from tasks.lib.gateway.truncated_prompts import CutWatch
from tasks.lib.journal.models import CallCost

FLEX_TIMEOUT_S = 900.0
"""For a call in the flex tier: https://platform.openai.com/docs/guides/flex-processing."""


class Endpoint:
    """Makes the calls to one deployment, within one event loop.

    Attributes:
        parameters: The parameters of its calls, and the room for its replies.
        tariff: The prices of its calls.
        cut_watch: Notices if the endpoint truncates prompts.
        timeout_s: The time limit of one call.

    Args:
        deployment: The model and its address.
        where: The route, for messages.
        timeout_s: The time limit of one call, unless the deployment has its own.
    """

    def __init__(self, deployment: Deployment, where: str, timeout_s: float) -> None:
        self.deployment, self._where = deployment, where
        is_flex = deployment.service_tier == FLEX
        self.timeout_s = deployment.timeout_s or (FLEX_TIMEOUT_S if is_flex else timeout_s)
        self._address = {"model": deployment.model, "max_retries": 0, "num_retries": 0}
        self.parameters = Parameters(deployment, where)
        self.tariff = Tariff(deployment, where)
        self.cut_watch = CutWatch(deployment.num_ctx)
        self._secrets: list[str] = []
        self._server: LocalServer | None = None
        self._limiter = RateLimiter(deployment.rpm, deployment.tpm)
        self._n_running = 0
        self._has_lied = False
        self._rests_until_s = 0.0

    def prepare(self) -> None:
        """Load LiteLLM, and find out which parameters the model accepts and what it costs.

        Loading takes seconds, once per process.

        Raises:
            ParamError: LiteLLM does not know the provider, the provider's key is not set, the
                price is unknown, the local model is not installed, or the model does not accept
                logprobs, which the route requires.
        """
        litellm = load_litellm()
        deployment = self.deployment
        if deployment.api_base:
            self._address["api_base"] = deployment.api_base
        if deployment.api_key:
            name = key_variable(deployment.api_key)
            if name and not os.environ.get(name):
                raise missing_key_error(self._where, name)
            self._address["api_key"] = os.environ[name] if name else NO_KEY
            self._secrets = [os.environ[name]] if name else []
        for name in missing_variables(deployment.header_variables.values()):
            raise missing_key_error(self._where, name)
        self._secrets += [os.environ[name] for name in deployment.header_variables.values()]
        if deployment.is_local:
            self._start_server()
        elif not deployment.is_offline:
            self._require_provider(litellm)
        self.parameters.prepare(litellm)
        self.tariff.load(Tier.OWN)

    @property
    def address(self) -> dict[str, Any]:
        """LiteLLM's arguments that name the endpoint, with the key and headers if it has any."""
        names = ("api_base", "api_key")
        address = {name: self._address[name] for name in names if name in self._address}
        return address | {"extra_headers": headers(self.deployment)}

    @property
    def load(self) -> tuple[float, int]:
        """The seconds until the endpoint's rest ends, and the number of its running calls."""
        return max(0.0, self._rests_until_s - time.monotonic()), self._n_running

    @contextmanager
    def chosen(self) -> Iterator[Self]:
        """Count a call as running from the moment this endpoint is chosen for it."""
        self._n_running += 1
        try:
            yield self
        finally:
            self._n_running -= 1

    def rest(self, seconds: float) -> None:
        """Start no call for `seconds`; keep a longer rest that is already set."""
        self._rests_until_s = max(self._rests_until_s, time.monotonic() + seconds)

    async def acquire(self, upper_bound: CallCost, until: asyncio.Event) -> Permit:
        """Wait until the endpoint's rest and rate limits allow a call, or the event is set."""
        rest_s, _ = self.load
        if rest_s:
            with suppress(TimeoutError):
                await asyncio.wait_for(until.wait(), rest_s)
        n_tokens = upper_bound.prompt_tokens + upper_bound.completion_tokens
        return await self._limiter.acquire(n_tokens, until)

    def upper_bound(self, request: Request, messages: Messages, tier: Tier = Tier.OWN) -> CallCost:
        """Return an upper bound on the cost of a call."""
        schema = self.parameters.of(request).get("response_format")
        n_prompt = max_prompt_tokens(messages, len(json.dumps(schema)) if schema else 0)
        n_reply = self.parameters.max_completion_tokens(request)
        usd = self.tariff.most_usd(n_prompt, n_reply, tier)
        return CallCost(n_prompt, n_reply, usd, is_upper_bound=True)

    def believed(self, reply: Reply, request: Request, most: CallCost) -> Reply:
        """Return the reply, excluding its usage if that is impossible for the request."""
        problem = impossible_usage(reply, request.messages, most)
        if not problem:
            return reply
        if not self._has_lied:
            log.warning(
                "%s reports impossible usage (%s); such calls count at their upper bounds",
                self._where,
                problem,
            )
        self._has_lied = True
        return reply._replace(
            prompt_tokens=None, completion_tokens=None, reasoning_tokens=0, cached_tokens=0
        )

    def classified(self, error: Exception, exchange: HttpExchange | None = None) -> ProviderError:
        """Convert an exception that LiteLLM raised, with this endpoint's keys hidden."""
        return provider_error(error, exchange, *self._secrets)

    def redact(self, text: str) -> str:
        """Return the text with this endpoint's key and all keys in the environment hidden.

        Lone surrogates, which cannot be written to a file, are replaced too.
        """
        return redact(text.encode(errors="replace").decode(), *self._secrets)

    async def ask(
        self, request: Request, messages: Messages, permit: Permit, room: int | None = None
    ) -> Reply:
        """Send a request and return its reply; record the tokens used in `permit`.

        Args:
            request: The request.
            messages: Its messages, or those of a re-ask.
            permit: The rate limiter's permit.
            room: The tokens reserved for the reply. Other calls may have found out since then that
                replies need more.

        Raises:
            ProviderError: There was no reply, or it could not be read.
        """
        sent = self.parameters.of(request, room)
        skip_accounting()
        exchange = watch_exchange()
        try:
            async with asyncio.timeout(self.timeout_s):
                response = await load_litellm().acompletion(
                    **self._address, **sent, messages=messages, timeout=self.timeout_s
                )
        except TimeoutError:
            words = f"no complete reply within {self.timeout_s:g} s (timeout_s)"
            raise ProviderError(ErrorKind.TIMEOUT, words) from None
        except Exception as error:  # LiteLLM raises its own errors and other libraries' errors
            refusal = self.classified(error, exchange)
            if self.parameters.learn(refusal, request, sent):
                refusal = ProviderError(
                    ErrorKind.REFUSED_PARAMETER, refusal.message, may_cost=False
                )
            raise refusal from None
        reply = read_reply(response, self.parameters.dropped)
        if reply.prompt_tokens is not None:
            n_tokens = reply.prompt_tokens + (reply.completion_tokens or 0)
            permit.n_tokens = min(permit.n_tokens, n_tokens)
        return reply

    async def close(self) -> None:
        """Close the connections while the event loop that used them is still running."""
        if self._server is not None:
            self._server.close()
        if self.tariff.is_loaded:  # otherwise LiteLLM may not be loaded, which takes seconds
            await load_litellm().close_litellm_async_clients()

    def _start_server(self) -> None:
        """Start the local model's server, which speaks OpenAI's protocol."""
        self._server = LocalServer()
        self._address["api_base"] = self._server.start()
        self._address["model"] = f"openai/{self.deployment.model.partition('/')[2]}"
        self._address["api_key"] = NO_KEY

    def _require_provider(self, litellm: Any) -> None:
        deployment = self.deployment
        try:
            litellm.get_llm_provider(deployment.model)
        except litellm.exceptions.BadRequestError:
            raise ParamError(
                f"LiteLLM does not know the provider {deployment.provider!r}",
                where=f"{PARAMS_FILE}: {self._where}",
                fix="Write the model as LiteLLM does: provider/name. Use openai/ with an api_base "
                "for any endpoint that speaks OpenAI's protocol.",
            ) from None
        if deployment.api_key or deployment.api_base or deployment.provider in VARIABLES:
            return
        missing = litellm.validate_environment(deployment.model)["missing_keys"]
        if missing and missing[0].endswith("_API_KEY"):  # others may come from elsewhere
            raise missing_key_error(self._where, missing[0])


def least_busy(endpoints: Sequence[Endpoint]) -> Endpoint:
    """Return the endpoint that can begin soonest; among equals, the one with the fewest calls."""
    return min(endpoints, key=lambda endpoint: endpoint.load)
