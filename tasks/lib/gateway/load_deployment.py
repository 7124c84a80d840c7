"""Load a deployment from params.yaml, and refuse secrets and keys that cannot work."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from tasks.lib.core.errors import ParamError
from tasks.lib.core.params import PARAMS_FILE, load_section
from tasks.lib.gateway.credentials import NO_KEY, key_variable, looks_secret
from tasks.lib.gateway.deployment_settings import (
    FORMER_OFFLINE_MODEL,
    LOCAL_MODEL,
    OFFLINE_MODEL,
    Deployment,
    Effort,
)

HOW = "Write it as {model: provider/name, schema: auto}, or as a list of these."
OURS = {
    "model": "model",
    "messages": "llm_select.prompt",
    "max_tokens": "max_answer_tokens",
    "max_completion_tokens": "max_answer_tokens",
    "max_output_tokens": "max_answer_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "response_format": "schema",
    "reasoning_effort": "reasoning_effort",
    "service_tier": "service_tier",
    "n": "llm_select.votes",
    "stream": "",
    "logprobs": "logprobs",
    "top_logprobs": "top_logprobs",
}
"""Names that `extra_body` must not contain, each with the params.yaml key that sets it."""


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
    _check_options(name, deployment)
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
            f"{name}.api_base must be a plain address: no user, password or query, and a valid "
            "port if any",
            where=PARAMS_FILE,
            fix="Write it as http://127.0.0.1:8000/v1.",
        )
    for key in ("extra_headers", "extra_body"):
        for path, value in _texts(key, given.get(key)):
            if not key_variable(value) and looks_secret(path.rpartition(".")[2], value):
                raise ParamError(
                    f"{name}.{path} must not contain a secret",
                    where=PARAMS_FILE,
                    fix="Write a secret as a header with the value os.environ/NAME and set NAME. "
                    "If a real one was here, revoke it: files are shared, and Git keeps every "
                    "version.",
                )


def _texts(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield every text in a value, with the keys that lead to it."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(f"{path}.{key}", inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(path, inner)


def _check_options(name: str, deployment: Deployment) -> None:
    """Raise an error for options that would have no effect, or that other keys set."""
    for key in deployment.extra_body or {}:
        if key in OURS:
            instead = f"Set {OURS[key]} instead." if OURS[key] else "Remove it."
            raise ParamError(
                f"{name}.extra_body must not contain {key}", where=PARAMS_FILE, fix=instead
            )
    if deployment.logprobs:
        _check_logprobs(name, deployment)
    elif deployment.top_logprobs is not None:
        raise ParamError(
            f"{name}.top_logprobs has no effect without logprobs",
            where=PARAMS_FILE,
            fix="Set logprobs: true, or remove it.",
        )
    if deployment.num_ctx is not None and not deployment.provider.startswith("ollama"):
        raise ParamError(
            f"{name}.num_ctx is an Ollama parameter, but this model is at {deployment.provider}",
            where=PARAMS_FILE,
            fix="Remove it, and set the context size where the server is started.",
        )


def _check_logprobs(name: str, deployment: Deployment) -> None:
    """Raise an error for keys that contradict a reply of one token."""
    if deployment.is_offline:
        raise ParamError(
            f"{name}.logprobs: {OFFLINE_MODEL} is not a language model",
            where=PARAMS_FILE,
            fix="Remove logprobs.",
        )
    for key in ("max_answer_tokens", "thinking_tokens", "reasoning_effort"):
        value = getattr(deployment, key)
        if value not in (None, Effort.NONE):
            raise ParamError(
                f"{name}.{key} is {value}, but with logprobs: true a reply has one token",
                where=PARAMS_FILE,
                fix=f"Remove {key} or logprobs.",
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
