"""Choose the parameters of the calls to one deployment, and adapt them to what it refuses."""

import os
import re
from collections.abc import Mapping
from typing import Any

from tasks.lib.core.errors import ParamError
from tasks.lib.core.events import log
from tasks.lib.core.params import PARAMS_FILE
from tasks.lib.gateway.classify_error import refused_parameter
from tasks.lib.gateway.credentials import key_variable
from tasks.lib.gateway.deployment_settings import Deployment, Effort, Schema
from tasks.lib.gateway.errors import ErrorKind, ProviderError
from tasks.lib.gateway.request import Request
from tasks.lib.gateway.thinking import (
    LEAST_MORE_ROOM,
    MORE_ROOM,
    NO_THINKING,
    Thinking,
    thinking_of,
    thinking_room,
)

LIMITS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
"""The two names of the limit in OpenAI's protocol, each mapped to the other."""
_LIMIT_WORDS = re.compile(
    r"max.?(?:completion|output|new)?.?tokens|(?:output|completion) tokens|in the completion"
    r"|num_predict",
    re.IGNORECASE,
)
_RENAMED = re.compile(
    r"unsupported|unrecognized|unknown|unexpected|not (?:supported|permitted|allowed)|extra inputs"
    r"|instead",
    re.IGNORECASE,
)
_SIZE_WORDS = re.compile(
    r"too (?:large|big|high|long)|at most|maximum|exceed|range|less than|<=| > |upper|reduce",
    re.IGNORECASE,
)


class Parameters:
    """Turns requests into LiteLLM's parameters, except those that the model does not accept.

    A parameter is dropped before the first call if LiteLLM knows that the model does not accept it,
    otherwise once the provider has refused it. Parameters that params.yaml sets (a temperature,
    ``schema: always``, ``reasoning_effort``) are never dropped.

    Attributes:
        dropped: The parameters that the model does not accept, sorted.

    Args:
        deployment: The model and its settings.
        where: The route, for messages.
    """

    def __init__(self, deployment: Deployment, where: str) -> None:
        self._deployment, self._where = deployment, where
        self._required = {*deployment.options, "service_tier", "top_logprobs"}
        if deployment.temperature is not None:
            self._required.add("temperature")
        if deployment.schema_use is Schema.ALWAYS:
            self._required.add("response_format")
        self.dropped: tuple[str, ...] = ()
        self._thinking: Thinking = NO_THINKING
        self._limit_name = ""  # in the body of a call; empty for the one that LiteLLM chooses
        self._refused_limits: set[str] = set()
        self._most: int | None = None  # the largest limit that the model accepts, if known
        self._has_more_room = False

    def prepare(self, litellm: Any) -> None:
        """Ask LiteLLM which parameters the model accepts, and how much thinking the model does.

        Raises:
            ParamError: The route requires logprobs, which the model does not accept.
        """
        self._thinking = thinking_of(self._deployment, litellm)
        if self._deployment.is_offline or self._deployment.is_local:
            return
        model, schema_use = self._deployment.model, self._deployment.schema_use
        optional = {"temperature", "seed"}
        supported = set(litellm.get_supported_openai_params(model=model) or optional)
        is_ollama = self._deployment.provider.startswith("ollama")  # the map would query its server
        if not is_ollama and litellm.utils.is_explicitly_disabled_factory(
            model, None, "supports_sampling_params"
        ):
            supported.discard("temperature")
        if self._deployment.logprobs and "top_logprobs" not in supported:
            raise ParamError(
                f"LiteLLM sends no top_logprobs to {model}",
                where=f"{PARAMS_FILE}: {self._where}",
                fix="Remove logprobs. Use openai/ with an api_base for a server that speaks "
                "OpenAI's protocol.",
            )
        dropped = optional - supported - self._required
        takes_schema = schema_use is Schema.ALWAYS or (
            schema_use is Schema.AUTO and litellm.supports_response_schema(model=model)
        )
        if not takes_schema:
            dropped.add("response_format")
        self.dropped = tuple(sorted(dropped))

    def of(self, request: Request, room: int | None = None) -> dict[str, Any]:
        """Return the parameters of a call for a request, excluding its messages and address.

        Args:
            request: The request.
            room: The largest limit to send, in tokens, if one has been reserved.
        """
        deployment = self._deployment
        given: dict[str, Any] = {
            "temperature": request.temperature,
            "seed": request.seed,
            "response_format": request.response_format,
            "reasoning_effort": self._effort,
            "service_tier": deployment.service_tier,
            **request.options,
        }
        sent = {
            name: value
            for name, value in given.items()
            if value is not None and name not in self.dropped
        }
        if "extra_headers" in sent:
            sent["extra_headers"] = headers(deployment)
        limit = self.max_completion_tokens(request)
        if room is not None:
            limit = min(limit, room)
        if self._limit_name:
            sent["extra_body"] = {**sent.get("extra_body", {}), self._limit_name: limit}
        else:
            sent["max_tokens"] = limit
        return sent

    def max_completion_tokens(self, request: Request) -> int:
        """Return the room for a reply: the room for the answer plus the room for thinking."""
        return self._room(request, has_more=self._has_more_room)

    def widest(self, request: Request) -> int:
        """Return the room for a reply after `give_more_room`."""
        return self._room(request, has_more=True)

    def give_more_room(self) -> None:
        """Give all further replies more room, since one was cut off."""
        if not self._has_more_room:
            log.info(
                "%s: a reply used up its room before the answer was complete; replies have more "
                "room from now on. Set thinking_tokens or a lower reasoning_effort to avoid this",
                self._where,
            )
        self._has_more_room = True

    def learn(self, error: ProviderError, request: Request, sent: Mapping[str, Any]) -> bool:
        """Adapt to a refusal; return whether the request is worth sending again."""
        if error.kind not in (ErrorKind.BAD_REQUEST, ErrorKind.CONTEXT_TOO_LONG):
            return False
        is_limit = _LIMIT_WORDS.search(error.message) and _SIZE_WORDS.search(error.message)
        if is_limit and self._lower_limit(request, sent):
            return True
        if error.kind is ErrorKind.CONTEXT_TOO_LONG:
            self._most = None  # lowering it did not help: the question itself is too long
            return False
        name = refused_parameter(error.message, {*sent, *LIMITS}, error.param)
        if name in LIMITS:
            return bool(_RENAMED.search(error.message)) and self._rename_limit(str(name))
        if name is None or name in self._required:
            return False
        self._drop(name, sent[name])
        return True

    @property
    def _effort(self) -> Effort | None:
        """The effort that is sent, or None."""
        if self._deployment.reasoning_effort is not None:
            return self._deployment.reasoning_effort
        if "reasoning_effort" in self.dropped:
            return None
        return next(iter(self._thinking.efforts), None)

    def _room(self, request: Request, *, has_more: bool) -> int:
        if request.reads_logprobs:
            return request.max_tokens
        room = thinking_room(self._deployment, self._thinking, self._effort)
        if has_more:
            room = max(MORE_ROOM * (room + request.max_tokens), LEAST_MORE_ROOM)
        total = request.max_tokens + room
        return total if self._most is None else max(request.max_tokens, min(total, self._most))

    def _lower_limit(self, request: Request, sent: Mapping[str, Any]) -> bool:
        """Halve the room if it was larger than the answer needs; return whether it was."""
        limit = sent.get("max_tokens") or sent["extra_body"][self._limit_name]
        if limit <= request.max_tokens:
            return False
        self._most = min(max(request.max_tokens, limit // 2), self._most or limit)
        log.info("%s: a reply has room for %d tokens from now on", self._where, self._most)
        return True

    def _drop(self, name: str, value: Any) -> None:
        """Stop sending a parameter; for a refused effort, send the next one instead."""
        if name == "reasoning_effort" and len(self._thinking.efforts) > 1:
            if value == self._effort:  # otherwise another call has already done so
                self._thinking = self._thinking._replace(efforts=self._thinking.efforts[1:])
                log.info("%s: reasoning_effort is %s from now on", self._where, self._effort)
        elif name not in self.dropped:
            self.dropped = tuple(sorted((*self.dropped, name)))
            log.info("%s does not accept %s, so it is no longer sent", self._where, name)

    def _rename_limit(self, refused: str) -> bool:
        """Use the other name of the limit; return False if that was refused too."""
        self._refused_limits.add(refused)
        other = LIMITS[refused]
        if other in self._refused_limits:
            return False
        if self._limit_name != other:
            self._limit_name = other
            log.info("%s: %s is sent instead of %s from now on", self._where, other, refused)
        return True


def headers(deployment: Deployment) -> dict[str, str]:
    """Return the extra headers of a deployment, with variables replaced by their values."""
    return {
        name: os.environ[variable] if (variable := key_variable(value)) else value
        for name, value in (deployment.extra_headers or {}).items()
    }
