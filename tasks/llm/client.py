"""The one door to every model: LiteLLM, set up to be quiet and to make one request a call."""

import asyncio
import logging
import os
from functools import cache
from typing import Any, NamedTuple

from tasks.core.errors import ParamError
from tasks.core.events import log
from tasks.core.params import PARAMS_FILE
from tasks.core.stage import QUIET
from tasks.llm.faults import FaultKind, ProviderFault, fault_of, refused_parameter
from tasks.llm.keys import NO_KEY, VARIABLES, key_name
from tasks.llm.prices import Price, stated_price
from tasks.llm.prompt import Messages
from tasks.llm.routes import LOOPBACK, Route, Schema, no_key, require_key


class Reply(NamedTuple):
    """What a model answered. Token counts are None where the provider did not tell."""

    text: str
    prompt_tokens: int | None
    completion_tokens: int | None
    finish_reason: str
    model: str  # as the provider names it, often with a date


class Client:
    """Calls the model of one route, each call one request, within one event loop.

    Parameters that a model does not take are left out: those that LiteLLM knows of before the
    first call, others once the provider has refused them. What params.yaml asks for in so many
    words (a temperature, ``schema: always``) is never left out.
    """

    def __init__(self, route: Route, *, seed: int, max_tokens: int, timeout_s: float) -> None:
        deployment = route.deployment
        self.route, self._deployment = route, deployment
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
        self._left_out: set[str] = set()
        self._secrets: list[str] = []

    def prepare(self) -> None:
        """Load LiteLLM and find out what the model takes. Takes seconds, once a process.

        Raises:
            ParamError: LiteLLM knows no such provider, or the provider's key is not set.
        """
        require_key(self.route)
        litellm = load_litellm()
        deployment = self._deployment
        if deployment.api_base:
            self._address["api_base"] = deployment.api_base
        if deployment.api_key:
            name = key_name(deployment.api_key)
            self._address["api_key"] = os.environ[name] if name else NO_KEY
            self._secrets = [os.environ[name]] if name else []
        if not deployment.is_rubric:
            self._require_provider(litellm)
            self._leave_out(litellm)

    async def ask(self, messages: Messages, schema: dict[str, Any]) -> Reply:
        """One request's reply; `schema` is of the JSON object to answer with, if it can be sent.

        Raises:
            ProviderFault: There was no reply, or none that could be read.
        """
        options = self._options | {"response_format": _response_format(schema)}
        options = {name: value for name, value in options.items() if name not in self._left_out}
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
        return _reply(response)

    def price(self) -> Price | None:
        """The price of a token now; None where it is not known, which a 0 in LiteLLM's map is."""
        stated = stated_price(self._deployment)
        if stated or self._deployment.provider.startswith("ollama"):  # LiteLLM would ask Ollama
            return stated
        try:
            info = load_litellm().get_model_info(self._deployment.model)
        except Exception:  # it raises a bare Exception for a model that it does not know
            return None
        price = Price(info["input_cost_per_token"] or 0, info["output_cost_per_token"] or 0)
        return price if all(price) else None

    async def close(self) -> None:
        """Close the connections, while the event loop that used them still runs."""
        await load_litellm().close_litellm_async_clients()

    def _require_provider(self, litellm: Any) -> None:
        deployment = self._deployment
        try:
            litellm.get_llm_provider(deployment.model)
        except litellm.exceptions.BadRequestError:
            raise ParamError(
                f"LiteLLM knows no provider {deployment.provider!r}",
                where=f"{PARAMS_FILE}: {self.route.where}",
                fix="Write the model as LiteLLM does, provider/name; openai/ with an api_base is "
                "for any endpoint that speaks OpenAI's protocol.",
            ) from None
        if deployment.api_key or deployment.api_base or deployment.provider in VARIABLES:
            return
        missing = litellm.validate_environment(deployment.model)["missing_keys"]
        if missing and missing[0].endswith("_API_KEY"):  # others may come from elsewhere
            raise no_key(self.route, missing[0])

    def _leave_out(self, litellm: Any) -> None:
        model = self._deployment.model
        taken = litellm.get_supported_openai_params(model=model) or self._options
        self._left_out = self._options.keys() - set(taken) - self._must
        schema_use = self._deployment.schema_use
        if schema_use is Schema.NEVER or (
            schema_use is Schema.AUTO and not litellm.supports_response_schema(model=model)
        ):
            self._left_out.add("response_format")

    def _learn(self, fault: ProviderFault, options: dict[str, Any]) -> ProviderFault:
        """The fault; where it refuses what can be left out, that is left out from now on."""
        if fault.kind is not FaultKind.BAD_REQUEST:
            return fault
        name = refused_parameter(fault.message, options.keys() - self._must)
        if name is None:
            return fault
        if name not in self._left_out:
            self._left_out.add(name)
            log.info("%s takes no %s; it is left out", self.route.where, name)
        return ProviderFault(FaultKind.REFUSED_PARAMETER, fault.message)


@cache
def load_litellm() -> Any:
    """The module, quiet: no telemetry, no download, no ``.env``, nothing on stdout, no log."""
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    for variable in ("NO_PROXY", "no_proxy"):  # a proxy would be asked for this very machine too
        hosts = [os.environ.get(variable, ""), *LOOPBACK]
        os.environ[variable] = ",".join(filter(None, hosts))
    import litellm  # noqa: PLC0415  # 3 s

    from tasks.llm.offline import OfflineRubric  # noqa: PLC0415  # imports litellm

    litellm.suppress_debug_info = True
    litellm.disable_hf_tokenizer_download = True
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).setLevel(logging.CRITICAL)
    litellm.custom_provider_map = [{"provider": "offline", "custom_handler": OfflineRubric()}]
    litellm.utils.custom_llm_setup()  # type: ignore[no-untyped-call]
    return litellm


def _response_format(schema: dict[str, Any]) -> dict[str, Any]:
    named = {"name": "answer", "strict": True, "schema": schema}
    return {"type": "json_schema", "json_schema": named}


def _reply(response: Any) -> Reply:
    if not response.choices:
        raise ProviderFault(FaultKind.MALFORMED, "a reply without any choice")
    choice = response.choices[0]
    text = choice.message.content
    usage = getattr(response, "usage", None)
    return Reply(
        text=text if isinstance(text, str) else "",
        prompt_tokens=getattr(usage, "prompt_tokens", None) or None,  # no prompt has 0
        completion_tokens=getattr(usage, "completion_tokens", None) if usage else None,
        finish_reason=choice.finish_reason or "",
        model=response.model or "",
    )
