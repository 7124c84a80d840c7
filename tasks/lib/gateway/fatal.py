"""Why a run stops, in words for its user."""

from pathlib import Path

from tasks.lib.core.errors import LLMError
from tasks.lib.gateway.credentials import NO_KEY, VARIABLES, key_variable
from tasks.lib.gateway.deployment import Deployment
from tasks.lib.gateway.errors import ErrorKind, ProviderError
from tasks.lib.gateway.routes import Route

FATAL = (
    ErrorKind.AUTHENTICATION,
    ErrorKind.PERMISSION,
    ErrorKind.QUOTA,
    ErrorKind.BAD_REQUEST,
)
"""What no retry cures, for any question."""

_WHAT = {
    ErrorKind.AUTHENTICATION: "the provider does not accept the key",
    ErrorKind.PERMISSION: "the key may not use this model",
    ErrorKind.QUOTA: "the account's quota or credit is used up",
    ErrorKind.BAD_REQUEST: "the provider refuses the request",
    ErrorKind.RATE_LIMIT: "the provider goes on saying that calls come too fast",
    ErrorKind.TIMEOUT: "the endpoint does not answer in time",
    ErrorKind.SERVER: "the endpoint goes on failing",
    ErrorKind.CONNECTION: "the endpoint cannot be reached",
    ErrorKind.MALFORMED: "what comes back is no chat completion",
}

_FIX = {
    ErrorKind.PERMISSION: "See in the provider's console what the key may use, or name another "
    "model.",
    ErrorKind.QUOTA: "Add credit, or choose another route.",
    ErrorKind.BAD_REQUEST: "See that the model's name is right; schema: never and no temperature "
    "ask the least of it.",
    ErrorKind.RATE_LIMIT: "Lower llm_select.concurrency, or raise llm_select.max_attempts.",
    ErrorKind.TIMEOUT: "Raise llm_select.timeout_s, or lower llm_select.concurrency.",
    ErrorKind.MALFORMED: "See that api_base is the address of the API, with /v1 where it has one.",
}
_WAIT = "See that it is up and that this machine can reach it."


def run_error(
    fault: ProviderError, route: Route, deployment: Deployment, journal: Path
) -> LLMError:
    """The end of a run whose calls to a deployment of `route` meet `fault`."""
    what = f"{_WHAT.get(fault.kind, 'the call failed')}: {fault.message}"
    if fault.kind is ErrorKind.AUTHENTICATION:
        fix = f"Set {_key_variable(deployment)} to a key of this provider's."
    else:
        fix = _FIX.get(fault.kind, _WAIT)
    return LLMError(
        what,
        where=f"{route.where} at {deployment.endpoint}",
        fix=f"{fix} The answers so far are kept in {journal}: run this again to go on from there.",
    )


def _key_variable(deployment: Deployment) -> str:
    api_key = deployment.api_key
    if api_key is not None and api_key != NO_KEY:
        return key_variable(api_key) or api_key
    return next(iter(VARIABLES.get(deployment.provider, ())), "api_key: os.environ/NAME and NAME")
