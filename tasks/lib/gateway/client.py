"""The one door to every model: LiteLLM, made to send one request a call."""

import asyncio
import json
import os
from typing import Any

from tasks.lib.core.errors import ParamError
from tasks.lib.core.events import log
from tasks.lib.core.params import PARAMS_FILE
from tasks.lib.gateway.classify import fault_of, refused_parameter
from tasks.lib.gateway.credentials import NO_KEY, VARIABLES, key_name
from tasks.lib.gateway.deployment import Deployment, Schema
from tasks.lib.gateway.errors import FaultKind, ProviderFault
from tasks.lib.gateway.litellm_setup import load_litellm
from tasks.lib.gateway.local_server import LocalServer
from tasks.lib.gateway.prices import Price, require_price
from tasks.lib.gateway.prompt import Messages
from tasks.lib.gateway.reply import Reply, read_reply, response_format
from tasks.lib.gateway.routes import no_key


class Client:
    """Calls the model of one deployment, each call one request, within one event loop.

    Parameters that a model does not take are left out: those that LiteLLM knows of before the
    first call, others once the provider has refused them. What params.yaml asks for in so many
    words (a temperature, ``schema: always``) is never left out.

    Attributes:
        left_out: The parameters that the model does not take, in the order of their names.
        price: What a token costs; known once the client is prepared.
    """

    left_out: tuple[str, ...]
    price: Price

    def __init__(
        self, deployment: Deployment, where: str, *, seed: int, max_tokens: int, timeout_s: float
    ) -> None:
        self.deployment, self._where = deployment, where
        self._timeout_s = timeout_s
        self._address = {"model": deployment.model, "max_retries": 0, "num_retries": 0}
        self._options = {
            "max_tokens": max_tokens,
            "temperature": deployment.temperature or 0.0,
            "seed": seed,
        }
        self._must = {"max_tokens"}
        if deployment.temperature is not None:
            self._must.add("temperature")
        if deployment.schema_use is Schema.ALWAYS:
            self._must.add("response_format")
        self.left_out = ()
        self._secrets: list[str] = []
        self._server: LocalServer | None = None

    def prepare(self) -> None:
        """Load LiteLLM, find out what the model takes and costs. Takes seconds, once a process.

        Raises:
            ParamError: LiteLLM knows no such provider, the provider's key is not set, the price
                is not known, or the model that runs on this machine is not installed.
        """
        litellm = load_litellm()
        deployment = self.deployment
        if deployment.api_base:
            self._address["api_base"] = deployment.api_base
        if deployment.api_key:
            name = key_name(deployment.api_key)
            if name and not os.environ.get(name):
                raise no_key(self._where, name)
            self._address["api_key"] = os.environ[name] if name else NO_KEY
            self._secrets = [os.environ[name]] if name else []
        if deployment.is_embedded:
            self._embed()
        elif not deployment.is_rubric:
            self._require_provider(litellm)
            self._leave_out(litellm)
        self.price = require_price(deployment, litellm, self._where)

    def schema_bytes(self, schema: dict[str, Any]) -> int:
        """How much longer a request is made by the schema of its answer."""
        is_sent = "response_format" not in self.left_out
        return len(json.dumps(response_format(schema))) if is_sent else 0

    async def ask(self, messages: Messages, schema: dict[str, Any]) -> Reply:
        """One request's reply; `schema` is of the JSON object to answer with, if it can be sent.

        Raises:
            ProviderFault: There was no reply, or none that could be read.
        """
        options = self._options | {"response_format": response_format(schema)}
        options = {name: value for name, value in options.items() if name not in self.left_out}
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await load_litellm().acompletion(
                    **self._address, **options, messages=messages, timeout=self._timeout_s
                )
        except TimeoutError:
            words = f"no whole reply within {self._timeout_s:g} s (llm_select.timeout_s)"
            raise ProviderFault(FaultKind.TIMEOUT, words) from None
        except Exception as error:  # LiteLLM's own and whatever it lets through
            raise self._learn(fault_of(error, *self._secrets), options) from None
        return read_reply(response, self.left_out)

    async def close(self) -> None:
        """Close the connections, while the event loop that used them still runs."""
        await load_litellm().close_litellm_async_clients()
        if self._server is not None:
            self._server.close()

    def _embed(self) -> None:
        """Start the model that runs on this machine, and talk to it as to OpenAI."""
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
                f"LiteLLM knows no provider {deployment.provider!r}",
                where=f"{PARAMS_FILE}: {self._where}",
                fix="Write the model as LiteLLM does, provider/name; openai/ with an api_base is "
                "for any endpoint that speaks OpenAI's protocol.",
            ) from None
        if deployment.api_key or deployment.api_base or deployment.provider in VARIABLES:
            return
        missing = litellm.validate_environment(deployment.model)["missing_keys"]
        if missing and missing[0].endswith("_API_KEY"):  # others may come from elsewhere
            raise no_key(self._where, missing[0])

    def _leave_out(self, litellm: Any) -> None:
        model = self.deployment.model
        taken = litellm.get_supported_openai_params(model=model) or self._options
        left_out = self._options.keys() - set(taken) - self._must
        schema_use = self.deployment.schema_use
        if schema_use is Schema.NEVER or (
            schema_use is Schema.AUTO and not litellm.supports_response_schema(model=model)
        ):
            left_out.add("response_format")
        self.left_out = tuple(sorted(left_out))

    def _learn(self, fault: ProviderFault, options: dict[str, Any]) -> ProviderFault:
        """The fault; where it refuses what can be left out, that is left out from now on."""
        if fault.kind is not FaultKind.BAD_REQUEST:
            return fault
        name = refused_parameter(fault.message, options.keys() - self._must)
        if name is None:
            return fault
        if name not in self.left_out:
            self.left_out = tuple(sorted((*self.left_out, name)))
            log.info("%s takes no %s; it is left out", self._where, name)
        return ProviderFault(FaultKind.REFUSED_PARAMETER, fault.message)
