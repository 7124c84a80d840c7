"""The error that ends a run, with advice for the user."""

import json

from tasks.lib.core.errors import LLMError
from tasks.lib.gateway.credentials import NO_KEY, VARIABLES, key_variable
from tasks.lib.gateway.deployment_settings import Deployment
from tasks.lib.gateway.errors import ErrorKind, ProviderError
from tasks.lib.gateway.prices import FLEX
from tasks.lib.gateway.routes import Route
from tasks.lib.journal.location import Place

FATAL = (
    ErrorKind.AUTHENTICATION,
    ErrorKind.PERMISSION,
    ErrorKind.QUOTA,
    ErrorKind.BAD_REQUEST,
    ErrorKind.CUT_PROMPT,
    ErrorKind.REDIRECT,
    ErrorKind.NO_LOGPROBS,
)
"""Errors that a retry cannot fix, whatever the question."""

_WHAT = {
    ErrorKind.AUTHENTICATION: "the provider does not accept the key",
    ErrorKind.PERMISSION: "the key is not allowed to use this model",
    ErrorKind.QUOTA: "the account's quota or credit is used up",
    ErrorKind.BAD_REQUEST: "the provider refuses the request",
    ErrorKind.CUT_PROMPT: "the endpoint truncates prompts to its context",
    ErrorKind.REDIRECT: "redirects are not followed, since they would send the prompts elsewhere",
    ErrorKind.NO_LOGPROBS: "the route has logprobs: true, but its endpoint returns none",
    ErrorKind.RATE_LIMIT: "the provider keeps reporting that the rate limit is exceeded",
    ErrorKind.TIMEOUT: "the endpoint does not answer in time",
    ErrorKind.SERVER: "the endpoint keeps failing",
    ErrorKind.CONNECTION: "the endpoint cannot be reached",
    ErrorKind.MALFORMED: "the response is not a chat completion",
}

_FIX = {
    ErrorKind.PERMISSION: "Check in the provider's console which models the key may use, or name "
    "another model.",
    ErrorKind.QUOTA: "Add credit, or choose another route.",
    ErrorKind.BAD_REQUEST: "Check the model's name. If it is right, set schema: never and "
    "remove temperature.",
    ErrorKind.CUT_PROMPT: "Start the server with a larger context (--max-model-len of vLLM, -c of "
    "llama.cpp for all its slots together), or lower cluster.candidates_per_prompt.",
    ErrorKind.REDIRECT: "If you trust that address, write it as the route's api_base.",
    ErrorKind.RATE_LIMIT: "Lower llm_select.concurrency, or raise llm_select.max_attempts.",
    ErrorKind.TIMEOUT: "Raise llm_select.timeout_s, or lower llm_select.concurrency.",
    ErrorKind.MALFORMED: "Check that api_base is the address of the API, with /v1 if it has one.",
}
_WAIT = "Check that it is up and that this machine can reach it."
_TLS = (
    "Check whether api_base begins with http or https. For your own certificate, set "
    "SSL_CERT_FILE to its authority's file."
)


def run_error(
    error: ProviderError, route: Route, deployment: Deployment, journal: Place
) -> LLMError:
    """Return the error that ends a run after `error` from a deployment of `route`."""
    what = f"{_WHAT.get(error.kind, 'the call failed')}: {_text(error.message)}"
    if error.kind is ErrorKind.AUTHENTICATION:
        fix = f"Set {_key_variable(deployment)} to a key of this provider."
    elif error.kind is ErrorKind.CONNECTION and "SSL" in error.message:
        fix = _TLS
    elif error.kind is ErrorKind.CUT_PROMPT and deployment.provider.startswith("ollama"):
        fix = f"Set num_ctx of models.{route.alias} to that size."
    else:
        fix = (
            _logprobs_fix(error, deployment, route.alias)
            or _tier_fix(error, deployment)
            or _FIX.get(error.kind, _WAIT)
        )
    return LLMError(
        what,
        where=f"{route.where} at {deployment.endpoint}",
        fix=f"{fix} The answers so far are stored in {journal}: run this again to continue.",
    )


def _text(message: str) -> str:
    """Return the text in a message that is JSON, as some providers send, or the message itself."""
    try:
        said = json.loads(message[message.index("{") :])
        said = said.get("error", said)
        return str(said["message"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return message


def _tier_fix(error: ProviderError, deployment: Deployment) -> str | None:
    """Return the remedy if the route's service_tier is the likely cause, otherwise None."""
    tier = deployment.service_tier
    if tier == FLEX and error.kind is ErrorKind.RATE_LIMIT:
        return (
            "The flex tier may have no capacity now. Raise llm_select.max_attempts to wait longer, "
            "or add a route to the same model without service_tier to llm_select.fallback_routes, "
            "at the standard price."
        )
    if tier and error.kind is ErrorKind.BAD_REQUEST and "tier" in error.message.lower():
        return f"Remove service_tier: {tier}, which this model does not have."
    return None


def _logprobs_fix(error: ProviderError, deployment: Deployment, alias: str) -> str | None:
    """Return the remedy if the route's logprobs is the likely cause, otherwise None."""
    is_refused = error.kind is ErrorKind.BAD_REQUEST and "logprobs" in error.message.lower()
    if error.kind is ErrorKind.NO_LOGPROBS or (deployment.logprobs and is_refused):
        return (
            f"Remove logprobs from models.{alias}, or use a server that returns top_logprobs, such "
            "as vLLM or llama.cpp. If it returns only a few, set top_logprobs to that number."
        )
    return None


def _key_variable(deployment: Deployment) -> str:
    api_key = deployment.api_key
    if api_key is not None and api_key != NO_KEY:
        return key_variable(api_key) or api_key
    return next(iter(VARIABLES.get(deployment.provider, ())), "api_key: os.environ/NAME and NAME")
