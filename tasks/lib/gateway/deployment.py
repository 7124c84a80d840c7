"""A deployment: one model at one endpoint, configured under `models` in params.yaml."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field

from tasks.lib.core.errors import ParamError
from tasks.lib.core.params import PARAMS_FILE, Params, load_section
from tasks.lib.gateway.credentials import NO_KEY, key_variable
from tasks.lib.gateway.local_server_process import LOCAL_NAME

HOW = "Write it as {model: provider/name, schema: auto}, or as a list of these."
OFFLINE_MODEL = "offline/typical"
FORMER_OFFLINE_MODEL = "offline/rubric"
LOCAL_MODEL = f"local/{LOCAL_NAME}"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Schema(StrEnum):
    """Whether to send a JSON schema for the answer."""

    AUTO = "auto"
    """Send it if LiteLLM says that the model supports it, until the endpoint refuses it."""
    ALWAYS = "always"
    NEVER = "never"


class Deployment(Params):
    """A model at an endpoint; the fields have the names of LiteLLM's ``litellm_params``."""

    model: Annotated[str, Field(pattern=r"^[^/\s]+/\S+$")]  # provider/name
    schema_use: Annotated[Schema, Field(alias="schema", strict=False)]
    api_base: str | None = None
    api_key: str | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    input_cost_per_token: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    output_cost_per_token: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    rpm: Annotated[int, Field(ge=1)] | None = None
    tpm: Annotated[int, Field(ge=1)] | None = None

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


def load_deployment(name: str, given: Any) -> Deployment:
    """Return the deployment at `name` in params.yaml.

    Raises:
        ParamError: The deployment is invalid. The error never repeats an API key.
    """
    if not isinstance(given, dict):
        raise ParamError(
            f"{name} must be a mapping with model and schema", where=PARAMS_FILE, fix=HOW
        )
    _check_secrets(name, given)
    deployment = load_section({name: given}, name, Deployment)
    _check_offline(name, deployment)
    if (deployment.input_cost_per_token is None) != (deployment.output_cost_per_token is None):
        raise ParamError(
            f"{name} has only one of its two prices",
            where=PARAMS_FILE,
            fix="Give both input_cost_per_token and output_cost_per_token, or neither.",
        )
    return deployment


def _check_secrets(name: str, given: Mapping[str, Any]) -> None:
    """Raise an error for values that may contain a secret, before any message repeats them."""
    api_key, api_base = given.get("api_key"), given.get("api_base")
    is_named = isinstance(api_key, str) and (api_key == NO_KEY or key_variable(api_key))
    if api_key is not None and not is_named:
        raise ParamError(
            f"{name}.api_key must name an environment variable, not contain a key",
            where=PARAMS_FILE,
            fix="Write os.environ/NAME and set NAME, or none for an endpoint that needs no key. "
            "If a real key was here, revoke it: files are shared, and Git keeps every version.",
        )
    if api_base is not None and not _is_plain_url(api_base):
        raise ParamError(
            f"{name}.api_base must be a plain address without a user, password or query",
            where=PARAMS_FILE,
            fix="Write it as http://127.0.0.1:8000/v1.",
        )


def _is_plain_url(api_base: Any) -> bool:
    try:
        url = urlsplit(api_base)
        is_http = url.scheme in ("http", "https") and bool(url.hostname)
        _ = url.port  # raises if it is not a number
    except (ValueError, TypeError, AttributeError):
        return False
    return is_http and not (url.username or url.password or url.query or url.fragment)


def _check_offline(name: str, deployment: Deployment) -> None:
    if deployment.model == FORMER_OFFLINE_MODEL:
        raise ParamError(
            f"{name}.model: {FORMER_OFFLINE_MODEL} is now called {OFFLINE_MODEL}",
            where=PARAMS_FILE,
            fix=f"Write {OFFLINE_MODEL}.",
        )
    for ours in (OFFLINE_MODEL, LOCAL_MODEL):
        provider = ours.partition("/")[0]
        if deployment.provider == provider and deployment.model != ours:
            raise ParamError(
                f"{name}.model: {provider} has no model {deployment.model!r}",
                where=PARAMS_FILE,
                fix=f"Write {ours}.",
            )
