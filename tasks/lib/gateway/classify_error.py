"""Classify the error of a failed call by its status, message and causes together.

The types of LiteLLM's exceptions are misleading: an exhausted quota is reported as a rate limit,
a broken connection as status 500, a garbled body as status 200, 422 or 500.
"""

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from email.utils import parsedate_to_datetime

from tasks.lib.gateway.credentials import redact
from tasks.lib.gateway.errors import ErrorKind, ProviderError
from tasks.lib.gateway.reply_limits import HttpExchange

MAX_MESSAGE = 500  # characters kept of a provider's message
MAX_READ = 20_000  # characters of an error that are read; the message follows a traceback
LONGEST_WAIT_S = 86_400.0
"""If a provider asks for a longer wait, it is ignored."""

_QUOTA = re.compile(
    r"insufficient_quota|insufficient (?:credit|balance|funds)|credit balance is too low"
    r"|exceeded your current quota(?!.*(?:per.?minute|retry.?delay|retry in))|payment required",
    re.IGNORECASE | re.DOTALL,
)
_NO_KEY = re.compile(
    r"api.?key.{0,20}(?:invalid|not valid|must be set|missing|required)"
    r"|(?:invalid|incorrect|missing|no) api.?key",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"context.?(?:length|window|size)|maximum context|(?:prompt|input|request) is too long"
    r"|too many (?:input )?tokens|exceeds? the (?:maximum|limit|available).{0,40}token"
    r"|maximum number of tokens|reduce the length",
    re.IGNORECASE,
)
_FILTERED = re.compile(
    r"content.?(?:policy|filter|management)|moderation|prohibited.?content|responsible ?ai"
    r"|(?:blocked|flagged).{0,40}(?:safety|policy|unsafe)",
    re.IGNORECASE,
)
_GARBLED = re.compile(
    r"unable to get json|error converting|invalid response object|'choices' that is|no 'choices'"
    r"|empty or invalid response",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"support|unrecognized|unknown|unexpected|not (?:permitted|allowed|accept|enabled|available)"
    r"|extra (?:inputs|fields)|invalid|deprecated|may only|must be|only (?:works|the default)"
    r"|cannot (?:both )?be|(?:does|do)(?:n't| not) |use .{1,60} instead|forbidden|not valid",
    re.IGNORECASE,
)
_OTHER_NAMES = {
    "response_format": r"response.?(?:json.?)?schema|json.?schema|output.?(?:format|config)"
    r"|structured.?output|response.?mime|grammar",
    "reasoning_effort": r"reasoning|thinking|\bthink\b|(?<!model)\beffort",
    "seed": r"random_seed",
    "service_tier": r"\bflex\b|\btier\b",
}
"""Other names that providers use for a parameter."""
_IN_PARTS = re.compile(
    r"validation error for Message\s+content\s.{0,200}input_type=list", re.DOTALL
)
_FIELD = re.compile(r"""["'](?:param|field)["']\s*:\s*["']([^"']+)["']""")
_TRANSPORT = {"TransportError", "ConnectionError", "ClientError", "gaierror", "SSLError"}
_UNREACHED = {
    *("ConnectError", "ConnectTimeout", "ConnectionRefusedError", "gaierror"),
    "ClientConnectorError",  # also if TLS failed
}
_NOISE = re.compile(r" ssl:<[^>]*>|\.? Handle with `[^`]*`\.?")
"""What libraries add to messages about a connection."""
_PARSING = {"ValueError", "TypeError", "KeyError", "IndexError", "AttributeError"}

_BY_STATUS = {
    401: ErrorKind.AUTHENTICATION,
    402: ErrorKind.QUOTA,
    403: ErrorKind.PERMISSION,
    408: ErrorKind.TIMEOUT,
    413: ErrorKind.CONTEXT_TOO_LONG,
    429: ErrorKind.RATE_LIMIT,
}


def provider_error(
    error: Exception, exchange: HttpExchange | None = None, *secrets: str
) -> ProviderError:
    """Convert an exception that LiteLLM raised, with `secrets` hidden in the message.

    Args:
        error: The exception.
        exchange: What came over the wire, if it is known.
        secrets: Texts to hide.
    """
    exchange = exchange or HttpExchange()
    if exchange.problem:
        kind = ErrorKind.REDIRECT if exchange.is_redirect else ErrorKind.MALFORMED
        words = _readable(exchange.problem, *secrets)
        return ProviderError(kind, words, may_cost=exchange.is_served)
    words = str(error)[:MAX_READ]
    kind = _kind(error, f"{words} {_fields(error, 'code', 'type')}", exchange)
    if kind is ErrorKind.CONNECTION:  # the message is only "Connection error."
        *_, root = _chain(error)
        words = f"{words} ({root})"
    if kind is ErrorKind.MALFORMED and _IN_PARTS.search(words):
        words = (
            "the reply's content is a list of parts, which LiteLLM reads only from "
            "mistral/ models: write the model as mistral/NAME, with the same api_base"
        )
    param = _fields(error, "param") or " ".join(_FIELD.findall(words))
    words = _readable(words, *secrets)
    may_cost = exchange.is_served or _may_cost(kind, error)
    return ProviderError(kind, words, _retry_after_s(error), may_cost, param)


def _may_cost(kind: ErrorKind, error: Exception) -> bool:
    """Return whether the model may have done any work: not if it was unreachable or refused."""
    if kind in (ErrorKind.TIMEOUT, ErrorKind.CONNECTION):
        return not _UNREACHED & _causes(error)
    if kind is ErrorKind.SERVER:  # a proxy does not know what became of a forwarded request
        return getattr(error, "status_code", None) in (None, 502, 504)
    return kind is ErrorKind.MALFORMED


def _kind(error: Exception, words: str, exchange: HttpExchange) -> ErrorKind:
    status = getattr(error, "status_code", None)
    causes = _causes(error)
    if isinstance(error, TimeoutError) or {"Timeout", "TimeoutException"} & causes:
        return ErrorKind.TIMEOUT
    kind = _kind_by_words(status, words, causes) or _kind_by_status(status, causes)
    is_guess = kind in (ErrorKind.SERVER, ErrorKind.BAD_REQUEST)  # for what LiteLLM cannot read
    return ErrorKind.MALFORMED if is_guess and exchange.is_served else kind


def _kind_by_words(status: int | None, words: str, causes: set[str]) -> ErrorKind | None:
    if _GARBLED.search(words) or status == 200 or "JSONDecodeError" in causes:
        return ErrorKind.MALFORMED
    if status in (400, 403, 429) and _QUOTA.search(words):
        return ErrorKind.QUOTA
    if status in (None, 400, 500) and _NO_KEY.search(words):
        return ErrorKind.AUTHENTICATION
    if status in (400, 422):
        if _TOO_LONG.search(words) or "ContextWindowExceededError" in causes:
            return ErrorKind.CONTEXT_TOO_LONG
        if _FILTERED.search(words) or "ContentPolicyViolationError" in causes:
            return ErrorKind.CONTENT_FILTER
    return None


def _kind_by_status(status: int | None, causes: set[str]) -> ErrorKind:
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status is not None and 400 <= status < 500:
        return ErrorKind.BAD_REQUEST
    if "HTTPStatusError" in causes:  # the server did respond
        return ErrorKind.SERVER
    if _TRANSPORT & causes:
        return ErrorKind.CONNECTION
    return ErrorKind.MALFORMED if _PARSING & causes else ErrorKind.SERVER


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def _causes(error: Exception) -> set[str]:
    """Return the class names of an error and its causes, including base classes."""
    return {base.__name__ for cause in _chain(error) for base in type(cause).__mro__}


def _fields(error: Exception, *names: str) -> str:
    """Return the fields with the given names in the provider's error, such as its code."""
    values = [getattr(cause, name, None) for cause in _chain(error) for name in names]
    return " ".join(value for value in values if isinstance(value, str))


def _readable(words: str, *secrets: str) -> str:
    """Return the start of a message, stripped of exception names, tracebacks and secrets."""
    words = words.partition("Traceback (most recent call last)")[0]
    words = re.sub(r"^(?:(?:litellm\.)?\w+(?:Error|Exception)\b(?: - |: )?)+", "", words.strip())
    words = _NOISE.sub("", words)
    words = "".join(char if char.isprintable() else " " for char in words)
    return redact(" ".join(words.split()), *secrets)[:MAX_MESSAGE] or "no message was given"


def _retry_after_s(error: Exception) -> float | None:
    """Return the wait that a Retry-After header asks for, as seconds or a date.

    None if there is no header, or if it asks for no wait (such as a date in the past) or for more
    than a day.
    """
    headers = getattr(error, "litellm_response_headers", None) or {}
    wait_s = _seconds(str(headers.get("retry-after")))
    return wait_s if 0 < wait_s <= LONGEST_WAIT_S else None


def _seconds(value: str) -> float:
    """Return the seconds in a header, given as a number or a date; 0 if it cannot be read."""
    with suppress(ValueError):
        return float(value)
    with suppress(ValueError, OverflowError, TypeError):
        return parsedate_to_datetime(value).timestamp() - time.time()
    return 0.0


def refused_parameter(message: str, sent: Iterable[str], param: str = "") -> str | None:
    """Return the parameter that the provider refuses, or None.

    Args:
        message: The provider's message; if it names several, the first is the refused one.
        sent: The names of the parameters.
        param: The parameter that the fields of the error name; it takes precedence.
    """
    names = list(sent)
    if param and (name := _first_named(param, names)):
        return name
    return _first_named(message, names) if _REFUSAL.search(message) else None


def _first_named(text: str, names: Iterable[str]) -> str | None:
    """Return the name that occurs first in the text, in any spelling, or None."""
    found: list[tuple[int, str]] = []
    for name in names:
        spelled = rf"\b{name.replace('_', '.?')}(?![a-z])"
        words = f"{spelled}|{_OTHER_NAMES[name]}" if name in _OTHER_NAMES else spelled
        match = re.search(words, text, re.IGNORECASE)
        if match:
            found.append((match.start(), name))
    return min(found)[1] if found else None
