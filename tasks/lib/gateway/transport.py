"""Send each call and read its response, below LiteLLM and the providers' protocols."""

import json
from contextlib import aclosing
from typing import Any, cast

import httpx
from litellm.llms.custom_httpx.aiohttp_transport import LiteLLMAiohttpTransport

from tasks.lib.gateway.reply_limits import (
    ENCODING,
    MAX_BODY,
    MAX_FILE,
    UnreadableBody,
    check_shape,
    current_exchange,
    is_json,
    read_body,
    sound_reply,
)

OF_CONTENT = ("content-encoding", "content-length", "transfer-encoding")
"""Headers that describe a body as it was sent."""
TOO_LARGE = b'{"error": {"message": "the text of the error is too large to be read"}}'


class GuardedTransport(LiteLLMAiohttpTransport):
    """Reads a whole response, up to a given size and shape, and follows no redirect.

    LiteLLM itself reads any body to its end, decompresses it without a limit, and sends the prompts
    to whatever address a redirect names.
    """

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response to a request.

        Raises:
            httpx.RequestError: There is no response, it cannot be read, or it is a redirect.
        """
        exchange = current_exchange()
        exchange.status, exchange.problem = None, ""
        request.headers["accept-encoding"] = ENCODING
        response = await super().handle_async_request(request)
        exchange.status = response.status_code
        encoding = response.headers.get("content-encoding", "").strip().lower()
        async with aclosing(cast(Any, response.stream).__aiter__()) as parts:
            try:
                if response.has_redirect_location:
                    raise UnreadableBody(_redirect(response))
                body = await _read(parts, encoding, request, is_error=response.status_code >= 400)
            except UnreadableBody as error:
                exchange.problem = str(error)
                raise httpx.RequestError(exchange.problem, request=request) from None
        headers = [item for item in response.headers.raw if _name(item) not in OF_CONTENT]
        return httpx.Response(response.status_code, headers=headers, content=body, request=request)


async def _read(parts: Any, encoding: str, request: httpx.Request, *, is_error: bool) -> bytes:
    is_file = request.method == "GET" and request.url.path.endswith("/content")
    try:
        body = await read_body(parts, encoding, MAX_FILE if is_file else MAX_BODY)
        if is_file or not is_json(body):
            return body
        check_shape(body)
    except UnreadableBody:
        if is_error:  # the status says enough
            return TOO_LARGE
        raise
    return body if is_error else _sound(body)


def _sound(body: bytes) -> bytes:
    """Return a JSON body that LiteLLM can read; return any other body unchanged."""
    try:
        given = json.loads(body)
    except ValueError:
        return body
    sound = sound_reply(given) if isinstance(given, dict) else given
    return body if sound == given else json.dumps(sound).encode()


def _redirect(response: httpx.Response) -> str:
    """Return the message about a redirect, which names only the host of its target."""
    try:
        host = httpx.URL(response.headers["location"]).host or "another path"
    except httpx.InvalidURL:
        host = "an invalid address"
    return f"the endpoint redirects to {host[:100]}"


def _name(item: tuple[bytes, bytes]) -> str:
    return item[0].decode("latin-1").lower()
