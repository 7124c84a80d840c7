"""Why a run stops, in words for its user."""

from pathlib import Path

from tasks.lib.core.errors import LLMError
from tasks.lib.gateway.credentials import NO_KEY, VARIABLES, key_name
from tasks.lib.gateway.deployment import Deployment
from tasks.lib.gateway.errors import FaultKind, ProviderFault
from tasks.lib.gateway.routes import Route

FATAL = (
    FaultKind.AUTHENTICATION,
    FaultKind.PERMISSION,
    FaultKind.QUOTA,
    FaultKind.BAD_REQUEST,
)
"""What no retry cures, for any question."""

_WHAT = {
    FaultKind.AUTHENTICATION: "the provider does not accept the key",
    FaultKind.PERMISSION: "the key may not use this model",
    FaultKind.QUOTA: "the account's quota or credit is used up",
    FaultKind.BAD_REQUEST: "the provider refuses the request",
    FaultKind.RATE_LIMIT: "the provider goes on saying that calls come too fast",
    FaultKind.TIMEOUT: "the endpoint does not answer in time",
    FaultKind.SERVER: "the endpoint goes on failing",
    FaultKind.CONNECTION: "the endpoint cannot be reached",
    FaultKind.MALFORMED: "what comes back is no chat completion",
}

_FIX = {
    FaultKind.PERMISSION: "See in the provider's console what the key may use, or name another "
    "model.",
    FaultKind.QUOTA: "Add credit, or choose another route.",
    FaultKind.BAD_REQUEST: "See that the model's name is right; schema: never and no temperature "
    "ask the least of it.",
    FaultKind.RATE_LIMIT: "Lower llm_select.concurrency, or raise llm_select.max_attempts.",
    FaultKind.TIMEOUT: "Raise llm_select.timeout_s, or lower llm_select.concurrency.",
    FaultKind.MALFORMED: "See that api_base is the address of the API, with /v1 where it has one.",
}
_WAIT = "See that it is up and that this machine can reach it."


def stop_for(fault: ProviderFault, route: Route, deployment: Deployment, journal: Path) -> LLMError:
    """The end of a run whose calls to a deployment of `route` meet `fault`."""
    what = f"{_WHAT.get(fault.kind, 'the call failed')}: {fault.message}"
    if fault.kind is FaultKind.AUTHENTICATION:
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
        return key_name(api_key) or api_key
    return next(iter(VARIABLES.get(deployment.provider, ())), "api_key: os.environ/NAME and NAME")
