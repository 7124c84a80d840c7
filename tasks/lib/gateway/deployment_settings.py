"""A deployment: one model at one endpoint, configured under `models` in params.yaml."""

from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field

from tasks.lib.core.params import Params
from tasks.lib.gateway.credentials import key_variable
from tasks.lib.gateway.local_server_process import LOCAL_NAME

OFFLINE_MODEL = "offline/typical"
FORMER_OFFLINE_MODEL = "offline/rubric"
LOCAL_MODEL = f"local/{LOCAL_NAME}"
LOOPBACK = ("127.0.0.1", "localhost", "::1")

FIELDS_OF_REQUEST = ("model", "schema_use", "temperature", "max_answer_tokens")
"""Keys of a route that have their own field in a request."""
NOT_IN_ANSWER = (
    "api_base",
    "api_key",
    "input_cost_per_token",
    "output_cost_per_token",
    "rpm",
    "tpm",
    "timeout_s",
    "thinking_tokens",  # only whether there is room for an answer
    "service_tier",  # only how soon the same model answers, and at what price
)
"""Keys of a route that cannot change an answer."""
_LINE = r"^[^\r\n]+$"


class Schema(StrEnum):
    """Whether to send a JSON schema for the answer."""

    AUTO = "auto"
    """Send it if LiteLLM says that the model supports it, until the endpoint refuses it."""
    ALWAYS = "always"
    NEVER = "never"


class Effort(StrEnum):
    """How much a model thinks before it answers, the least first."""

    NONE = "none"
    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    XHIGH = "xhigh"
    MAX = "max"


class Deployment(Params):
    """A model at an endpoint; the fields are named as in LiteLLM's ``litellm_params``.

    A field that is not listed in `FIELDS_OF_REQUEST` or `NOT_IN_ANSWER` becomes an option of every
    request and part of its key, without further work: see `options`.

    Attributes:
        reasoning_effort: None for the least effort that the model accepts.
        max_answer_tokens: The room for the answer; None for the step's own.
        thinking_tokens: The room for thinking, in addition to the answer's; None for a room that
            depends on the model and its effort.
        extra_body: Fields that are added to the body of a call unchanged.
        extra_headers: Headers of a call; ``os.environ/NAME`` is replaced by the value of NAME.
        num_ctx: The context size that Ollama allocates.
        logprobs: Whether llm_select reads the log-probabilities of one token instead of a list.
        top_logprobs: The number of tokens with a log-probability; None for the most that OpenAI and
            vLLM return.
        service_tier: The provider's tier, such as flex, which has its own price.
        timeout_s: The time limit of a call; None for llm_select's.
    """

    model: Annotated[str, Field(pattern=r"^[^/\s]+/\S+$")]  # provider/name
    schema_use: Annotated[Schema, Field(alias="schema", strict=False)]
    api_base: str | None = None
    api_key: str | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    input_cost_per_token: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    output_cost_per_token: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    rpm: Annotated[int, Field(ge=1)] | None = None
    tpm: Annotated[int, Field(ge=1)] | None = None
    reasoning_effort: Annotated[Effort, Field(strict=False)] | None = None
    max_answer_tokens: Annotated[int, Field(ge=64)] | None = None
    thinking_tokens: Annotated[int, Field(ge=0)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    extra_body: dict[str, Any] | None = None
    extra_headers: (
        dict[Annotated[str, Field(pattern=r"^[\w-]+$")], Annotated[str, Field(pattern=_LINE)]]
        | None
    ) = None
    num_ctx: Annotated[int, Field(ge=256)] | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=2)] | None = None
    service_tier: Annotated[str, Field(pattern=r"^[a-z_]+$")] | None = None
    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    @cached_property
    def options(self) -> dict[str, Any]:
        """The keys that are set and can change an answer, as JSON values by name."""
        return self.model_dump(
            mode="json", exclude={*FIELDS_OF_REQUEST, *NOT_IN_ANSWER}, exclude_defaults=True
        )

    @property
    def header_variables(self) -> dict[str, str]:
        """The environment variables that contain headers, by header."""
        named = {name: key_variable(value) for name, value in (self.extra_headers or {}).items()}
        return {name: variable for name, variable in named.items() if variable}

    @property
    def provider(self) -> str:
        """The provider, which is the first part of the model's name."""
        return self.model.partition("/")[0]

    @property
    def is_offline(self) -> bool:
        """Whether the model is the offline judge, which is not a language model."""
        return self.model == OFFLINE_MODEL

    @property
    def is_local(self) -> bool:
        """Whether the model runs on this machine, in our own server."""
        return self.model == LOCAL_MODEL

    @property
    def is_free(self) -> bool:
        """Whether calls cost nothing because the model runs on this machine."""
        host = urlsplit(self.api_base).hostname if self.api_base else None
        is_own_ollama = self.provider.startswith("ollama") and host in LOOPBACK
        return self.is_offline or self.is_local or is_own_ollama

    @property
    def endpoint(self) -> str:
        """The endpoint's address, for messages."""
        return self.api_base or f"{self.provider}'s own address"
