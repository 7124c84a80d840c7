"""A call that brought no reply, and why."""

from enum import StrEnum


class FaultKind(StrEnum):
    """Why a call brought no reply."""

    AUTHENTICATION = "authentication"
    PERMISSION = "permission"
    QUOTA = "quota"
    BAD_REQUEST = "bad_request"
    REFUSED_PARAMETER = "refused_parameter"  # one that can be left out, and from now on is
    CONTEXT_TOO_LONG = "context_too_long"
    CONTENT_FILTER = "content_filter"
    RATE_LIMIT = "rate_limit"
    TIMEOUT = "timeout"
    SERVER = "server"
    CONNECTION = "connection"
    MALFORMED = "malformed"


class ProviderFault(Exception):
    """A call that brought no reply, in a form that holds no secret and survives pickling.

    `may_cost` says whether the provider may bill it all the same: it may have written an answer
    that did not arrive whole.
    """

    def __init__(
        self,
        kind: FaultKind,
        message: str,
        retry_after_s: float | None = None,
        may_cost: bool = True,
    ) -> None:
        super().__init__(kind, message, retry_after_s, may_cost)
        self.kind, self.message, self.retry_after_s = kind, message, retry_after_s
        self.may_cost = may_cost

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"
