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
from tasks.lib.gateway.classify import provider_error, refused_parameter
from tasks.lib.gateway.credentials import NO_KEY, VARIABLES, key_variable, redact
from tasks.lib.gateway.deployment import Deployment, Schema
from tasks.lib.gateway.errors import ErrorKind, ProviderError
from tasks.lib.gateway.litellm_setup import load_litellm
from tasks.lib.gateway.local_server import LocalServer
from tasks.lib.gateway.prices import Price, Tier, max_prompt_tokens, require_price
from tasks.lib.gateway.rate_limit import Permit, RateLimiter
from tasks.lib.gateway.reply import Reply, read_reply
from tasks.lib.gateway.request import Messages, Request
from tasks.lib.gateway.routes import missing_key_error
from tasks.lib.journal.models import CallCost

OPTIONS = ("max_tokens", "temperature", "seed", "response_format")
"""The fields of a request that are passed to LiteLLM as options."""


class Endpoint:
    """Makes the calls to one deployment, within one event loop.

    Optional parameters that the model does not accept are dropped: before the first call if
    LiteLLM knows, otherwise once the provider has refused them. Parameters that params.yaml sets
    explicitly (a temperature, ``schema: always``) are never dropped.

    Attributes:
        dropped_params: The parameters that the model does not accept, sorted.

    Args:
        deployment: The model and its address.
        where: The route, for messages.
        timeout_s: The time limit of one call.
    """

    def __init__(self, deployment: Deployment, where: str, timeout_s: float) -> None:
        self.deployment, self._where, self._timeout_s = deployment, where, timeout_s
        self._address = {"model": deployment.model, "max_retries": 0, "num_retries": 0}
        self._required = {"max_tokens"}
        if deployment.temperature is not None:
            self._required.add("temperature")
        if deployment.schema_use is Schema.ALWAYS:
            self._required.add("response_format")
        self.dropped_params: tuple[str, ...] = ()
        self._prices: dict[Tier, Price] = {}
        self._secrets: list[str] = []
        self._server: LocalServer | None = None
        self._limiter = RateLimiter(deployment.rpm, deployment.tpm)
        self._n_running = 0
        self._rests_until_s = 0.0

    def prepare(self) -> None:
        """Load LiteLLM, and find out which parameters the model accepts and what it costs.

        Loading takes seconds, once per process.

        Raises:
            ParamError: LiteLLM does not know the provider, the provider's key is not set, the
                price is unknown, or the local model is not installed.
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
        if deployment.is_local:
            self._start_server()
        elif not deployment.is_offline:
            self._require_provider(litellm)
            self._drop_unsupported(litellm)
        self.load_price(Tier.STANDARD)

    def load_price(self, tier: Tier) -> None:
        """Find the price of a tier, once, which `cost` needs.

        Raises:
            ParamError: The price is unknown.
        """
        if tier not in self._prices:
            self._prices[tier] = require_price(self.deployment, load_litellm(), self._where, tier)

    @property
    def address(self) -> dict[str, Any]:
        """LiteLLM's arguments that name the endpoint, and the key if it has one."""
        return {
            name: self._address[name] for name in ("api_base", "api_key") & self._address.keys()
        }

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
        """Let no call begin for `seconds`; keep a longer rest that is already set."""
        self._rests_until_s = max(self._rests_until_s, time.monotonic() + seconds)

    async def acquire(self, upper_bound: CallCost, until: asyncio.Event) -> Permit:
        """Wait until the endpoint's rest and rate limits allow a call, or until the event."""
        rest_s, _ = self.load
        if rest_s:
            with suppress(TimeoutError):
                await asyncio.wait_for(until.wait(), rest_s)
        n_tokens = upper_bound.prompt_tokens + upper_bound.completion_tokens
        return await self._limiter.acquire(n_tokens, until)

    def upper_bound(
        self, request: Request, messages: Messages, tier: Tier = Tier.STANDARD
    ) -> CallCost:
        """Return an upper bound on the cost of a call."""
        is_schema_sent = request.response_format and "response_format" not in self.dropped_params
        n_schema = len(json.dumps(request.response_format)) if is_schema_sent else 0
        most = self.cost(max_prompt_tokens(messages, n_schema), request.max_tokens, tier)
        return most._replace(is_upper_bound=True)

    def cost(
        self, prompt_tokens: int, completion_tokens: int, tier: Tier = Tier.STANDARD
    ) -> CallCost:
        """Return the cost of a call with these tokens, at the price that was found before."""
        usd = self._prices[tier].cost_usd(prompt_tokens, completion_tokens)
        return CallCost(prompt_tokens, completion_tokens, usd, is_upper_bound=False)

    def classified(self, error: Exception) -> ProviderError:
        """Convert an exception that LiteLLM raised, with this endpoint's key hidden."""
        return provider_error(error, *self._secrets)

    def redact(self, text: str) -> str:
        """Return the text with this endpoint's key and all keys in the environment hidden.

        Lone surrogates, which cannot be written to a file, are replaced too.
        """
        return redact(text.encode(errors="replace").decode(), *self._secrets)

    def options(self, request: Request) -> dict[str, Any]:
        """Return the options of a call, excluding those that the model does not accept."""
        options = {name: getattr(request, name) for name in OPTIONS}
        return {
            name: value
            for name, value in options.items()
            if value is not None and name not in self.dropped_params
        }

    async def ask(self, request: Request, messages: Messages, permit: Permit) -> Reply:
        """Send a request and return its reply; record the tokens used in `permit`.

        Raises:
            ProviderError: There was no reply, or it could not be read.
        """
        options = self.options(request)
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await load_litellm().acompletion(
                    **self._address, **options, messages=messages, timeout=self._timeout_s
                )
        except TimeoutError:
            words = f"no complete reply within {self._timeout_s:g} s (llm_select.timeout_s)"
            raise ProviderError(ErrorKind.TIMEOUT, words) from None
        except Exception as error:  # LiteLLM raises its own errors and other libraries' errors
            raise self._learn(self.classified(error), options) from None
        reply = read_reply(response, self.dropped_params)
        if reply.prompt_tokens is not None:
            permit.n_tokens = reply.prompt_tokens + (reply.completion_tokens or 0)
        return reply

    async def close(self) -> None:
        """Close the connections while the event loop that used them is still running."""
        if self._server is not None:
            self._server.close()
        if self._prices:  # otherwise LiteLLM may not be loaded, which takes seconds
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

    def _drop_unsupported(self, litellm: Any) -> None:
        model, schema_use = self.deployment.model, self.deployment.schema_use
        options = set(OPTIONS) - {"response_format"}
        supported = litellm.get_supported_openai_params(model=model) or options
        dropped = options - set(supported) - self._required
        takes_schema = schema_use is Schema.ALWAYS or (
            schema_use is Schema.AUTO and litellm.supports_response_schema(model=model)
        )
        if not takes_schema:
            dropped.add("response_format")
        self.dropped_params = tuple(sorted(dropped))

    def _learn(self, error: ProviderError, options: dict[str, Any]) -> ProviderError:
        """Return the error; if it refuses an optional parameter, drop that from now on."""
        if error.kind is not ErrorKind.BAD_REQUEST:
            return error
        name = refused_parameter(error.message, options.keys() - self._required)
        if name is None:
            return error
        if name not in self.dropped_params:
            self.dropped_params = tuple(sorted((*self.dropped_params, name)))
            log.info("%s does not accept %s, which is dropped from now on", self._where, name)
        return ProviderError(ErrorKind.REFUSED_PARAMETER, error.message)


def least_busy(endpoints: Sequence[Endpoint]) -> Endpoint:
    """Return the endpoint that can begin soonest; among equals, the one with the fewest calls."""
    return min(endpoints, key=lambda endpoint: endpoint.load)
