"""Write the request lines of a batch, and read the lines of its replies and errors."""

import json
from collections.abc import Iterable, Set
from http import HTTPStatus
from io import BytesIO
from itertools import chain
from typing import Any, NamedTuple

from tasks.lib.batches.api import URL
from tasks.lib.gateway.endpoint import Endpoint
from tasks.lib.gateway.errors import ErrorKind, ProviderError
from tasks.lib.gateway.litellm_setup import load_litellm
from tasks.lib.gateway.reply import Reply, read_reply
from tasks.lib.gateway.reply_limits import MAX_BODY, UnreadableBody, check_shape, sound_reply
from tasks.lib.gateway.request import Request

NOT_IN_BODY = ("extra_headers", "service_tier", "timeout")
"""Options for single calls only. A batch has its own price and deadline."""


class Results(NamedTuple):
    """The outcomes of a batch's requests, by key."""

    replies: dict[str, Reply]
    errors: dict[str, ProviderError]
    n_unreadable: int


class _LineError(Exception):
    """An error line, in the form of a LiteLLM exception."""

    def __init__(self, message: str, status_code: int | None, code: str | None) -> None:
        super().__init__(message)
        self.status_code, self.code = status_code, code


def request_line(request: Request, endpoint: Endpoint) -> bytes:
    """Return a request's line, with the same body that LiteLLM would send for a single call."""
    litellm = load_litellm()
    model, provider, _, _ = litellm.get_llm_provider(endpoint.deployment.model)
    options = endpoint.parameters.of(request)
    options = {name: value for name, value in options.items() if name not in NOT_IN_BODY}
    body = litellm.utils.get_optional_params(
        model=model, custom_llm_provider=provider, messages=request.messages, **options
    )
    del body["stream"]
    body |= body.pop("extra_body", None) or {}
    line = {
        "custom_id": request.key,
        "method": "POST",
        "url": URL,
        "body": {"model": model, "messages": request.messages, **body},
    }
    return json.dumps(line, ensure_ascii=False).encode(errors="replace") + b"\n"


def read_results(contents: Iterable[bytes], keys: Set[str], endpoint: Endpoint) -> Results:
    """Return the outcomes of requests, from the files with a batch's replies and errors.

    The first reply to a request counts, otherwise its first error. Lines that cannot be read are
    counted and skipped.

    Args:
        contents: The files.
        keys: The keys of the requests.
        endpoint: The endpoint of the batch.
    """
    replies: dict[str, Reply] = {}
    errors: dict[str, ProviderError] = {}
    n_unreadable = 0
    for line in chain.from_iterable(map(BytesIO, contents)):  # a split would copy all of them
        try:
            given = _parsed(line) if line.strip() else {"custom_id": ""}
            key = given["custom_id"]
            if key not in keys or key in replies:
                continue
            outcome = _outcome(given, endpoint)
        except Exception:  # whatever is wrong with it, other lines may be right
            n_unreadable += 1
            continue
        if isinstance(outcome, Reply):
            replies[key] = outcome
        else:
            errors.setdefault(key, outcome)
    return Results(replies, errors, n_unreadable)


def _parsed(line: bytes) -> Any:
    if len(line) > MAX_BODY:
        raise UnreadableBody(f"a line has more than {MAX_BODY:,} bytes")
    check_shape(line)
    return json.loads(line)


def _outcome(line: dict[str, Any], endpoint: Endpoint) -> Reply | ProviderError:
    """Return the reply or error that a line contains."""
    response = line.get("response")
    if response is None:
        return _error(line.get("error") or {}, None, endpoint)
    status = response["status_code"]
    if status != HTTPStatus.OK:
        if type(status) is not int or status < HTTPStatus.BAD_REQUEST:
            raise UnreadableBody("the status does not indicate an error")
        body = response.get("body")
        said = body.get("error") if isinstance(body, dict) else None
        return _error(said or line.get("error") or {}, status, endpoint)
    litellm = load_litellm()
    reply = litellm.utils.convert_to_model_response_object(
        response_object=sound_reply(response["body"]),
        model_response_object=litellm.ModelResponse(),
    )
    return read_reply(reply, endpoint.parameters.dropped)


def _error(said: dict[str, Any], status: int | None, endpoint: Endpoint) -> ProviderError:
    """Return the error of a line; the provider charges nothing for it."""
    message = str(said.get("message") or said.get("code") or "no message was given")
    found = endpoint.classified(_LineError(message, status, said.get("code")))
    kind = found.kind if status else ErrorKind.UNFINISHED
    return ProviderError(kind, found.message, may_cost=False)
