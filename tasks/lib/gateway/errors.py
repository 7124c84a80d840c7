"""The error for a call that got no usable reply, and its kind."""

from enum import StrEnum


class ErrorKind(StrEnum):
    """Why a call got no reply."""

    AUTHENTICATION = "authentication"
    PERMISSION = "permission"
    QUOTA = "quota"
    REDIRECT = "redirect"  # to another address, which is not followed
    BAD_REQUEST = "bad_request"
    REFUSED_PARAMETER = "refused_parameter"  # one that is then dropped or changed
    CUT_OFF = "cut_off"  # a reply that used up its room, which is larger from then on
    CONTEXT_TOO_LONG = "context_too_long"
    CUT_PROMPT = "cut_prompt"  # the endpoint read only part of the prompt
    CONTENT_FILTER = "content_filter"
    NO_LOGPROBS = "no_logprobs"  # missing from a reply that is read from them
    RATE_LIMIT = "rate_limit"
    TIMEOUT = "timeout"
    SERVER = "server"
    CONNECTION = "connection"
    MALFORMED = "malformed"
    UNFINISHED = "unfinished"  # a batch ended without a reply to the request


class ProviderError(Exception):
    """The error for a call that got no reply. It contains no secret and can be pickled.

    `may_cost` says whether the provider may still charge for the call, because it may have
    written an answer that did not arrive completely. `param` is the parameter that the fields of
    the provider's error name, if any.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        retry_after_s: float | None = None,
        may_cost: bool = True,
        param: str = "",
    ) -> None:
        super().__init__(kind, message, retry_after_s, may_cost, param)
        self.kind, self.message, self.retry_after_s = kind, message, retry_after_s
        self.may_cost, self.param = may_cost, param

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"
