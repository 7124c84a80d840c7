"""A provider that speaks OpenAI's protocol on this machine, for the real client to talk to.

    with FakeProvider() as provider:
        provider.script(fails(429, retry_after=0), says("I like the third one."))
        ...  # point a route at provider.deployment()
        assert len(provider.calls) == 3

A behaviour turns a call into a response. The scripted ones are used up in the order of arrival;
after them `provider.behave` answers, which is honest unless a test sets it.
"""

import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tasks.lib.gateway.fence import CandidateBlock, parse_block

SERVED_MODEL = "fake-2025-01-01"
BYTES_PER_TOKEN = 4
USD_IN, USD_OUT = 1e-6, 4e-6  # a token, as its routes state
LINGER_OFF = struct.pack("ii", 1, 0)  # closing then sends a reset


@dataclass(frozen=True)
class Call:
    """One request as it arrived."""

    n: int  # from 1, in order of arrival
    path: str
    headers: dict[str, str]  # names in small letters
    body: dict[str, Any]
    arrived_s: float

    @property
    def messages(self) -> list[dict[str, str]]:
        messages: list[dict[str, str]] = self.body["messages"]
        return messages

    @property
    def block(self) -> CandidateBlock:
        """The candidates it shows, and how many to pick; a re-ask only adds to the question."""
        blocks = (parse_block(message["content"]) for message in self.messages)
        return next(block for block in blocks if block is not None)

    @property
    def item(self) -> tuple[str, str]:
        """The request and the response that are to be rated."""
        (question,) = [m["content"] for m in self.messages if "\nA line with " in m["content"]]
        word = question.partition("\nA line with ")[2][:8]
        _, request, response, _ = re.split(rf"\n----- {word} \w+ -----\n", question)
        return request, response

    @property
    def is_reask(self) -> bool:
        """Whether it names what was wrong with the reply before."""
        return any(message["role"] == "assistant" for message in self.messages)

    @property
    def prompt_tokens(self) -> int:
        n_bytes = sum(len(message["content"].encode()) for message in self.messages)
        return -(-n_bytes // BYTES_PER_TOKEN)


@dataclass(frozen=True)
class Response:
    """What goes back, and what goes wrong on the way."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    tokens: tuple[int, int] = (0, 0)  # prompt and completion, as billed
    delay_s: float = 0.0  # before the first byte
    trickle_s: float = 0.0  # between bytes
    reset_after: int | None = None  # bytes of the body, then the connection breaks


Behaviour = Callable[[Call], Response]


def says(
    text: str | None, finish_reason: str = "stop", *, usage: bool = True, **extra: Any
) -> Behaviour:
    """A chat completion with this text."""

    def behave(call: Call) -> Response:
        n_out = -(-len((text or "").encode(errors="replace")) // BYTES_PER_TOKEN)
        message = {"role": "assistant", "content": text}
        body = {
            "id": f"chatcmpl-{call.n}",
            "object": "chat.completion",
            "created": 1,
            "model": SERVED_MODEL,
            "service_tier": "on_demand",  # LiteLLM wants it of groq
            "choices": [{"index": 0, "finish_reason": finish_reason, "message": message}],
        }
        if usage:
            body["usage"] = {
                "prompt_tokens": call.prompt_tokens,
                "completion_tokens": n_out,
                "total_tokens": call.prompt_tokens + n_out,
            }
        return Response(body=json.dumps(body | extra).encode(), tokens=(call.prompt_tokens, n_out))

    return behave


def picks(*slots: Any) -> Behaviour:
    """An answer in the agreed form."""
    return says(json.dumps({"picks": list(slots)}))


def rates(score: float) -> Behaviour:
    """A rating in the agreed form."""
    return says(json.dumps({"score": score}))


def honest(call: Call) -> Response:
    """Picks whose texts come first in the alphabet, wherever they stand."""
    texts, n_picks = call.block
    order = sorted(range(len(texts)), key=lambda i: texts[i])
    return picks(*(i + 1 for i in order[:n_picks]))(call)


def fails(
    status: int,
    message: str = "something is wrong",
    code: str | None = None,
    retry_after: float | str | None = None,
) -> Behaviour:
    """An error in OpenAI's form."""
    error = {"message": message, "type": "error", "code": code, "param": None}
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return lambda call: Response(status, json.dumps({"error": error}).encode(), headers)


def garbled(body: bytes) -> Behaviour:
    """Status 200 with a body that is no chat completion."""
    return lambda call: Response(body=body)


def resets(after: int = 0) -> Behaviour:
    """An honest answer whose connection breaks after so many bytes of its body."""
    return lambda call: replace(honest(call), reset_after=after)


def late(delay_s: float, then: Behaviour = honest) -> Behaviour:
    """A behaviour whose response comes late."""
    return lambda call: replace(then(call), delay_s=delay_s)


def trickles(pause_s: float) -> Behaviour:
    """An honest answer, byte by byte."""
    return lambda call: replace(honest(call), trickle_s=pause_s)


class FakeProvider:
    """A server in threads of this process.

    Attributes:
        behave: Answers what is not scripted.
        calls: All requests so far, in order of arrival.
        tokens: Prompt and completion tokens of the responses that were sent whole.
        peak: The most requests that were ever under way at once.
    """

    def __init__(self, behave: Behaviour = honest) -> None:
        self.behave = behave
        self.calls: list[Call] = []
        self.tokens = (0, 0)
        self.peak = 0
        self._script: list[Behaviour] = []
        self._n_running = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def usd(self) -> float:
        """The price of the responses that were sent whole."""
        return self.tokens[0] * USD_IN + self.tokens[1] * USD_OUT

    @property
    def api_base(self) -> str:
        """What a route's api_base has to be."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def deployment(self, **changes: Any) -> dict[str, Any]:
        """A route to it, as it would stand in params.yaml."""
        route = {
            "model": "openai/fake",
            "schema": "never",
            "api_base": self.api_base,
            "api_key": "none",
            "input_cost_per_token": USD_IN,
            "output_cost_per_token": USD_OUT,
        }
        return route | changes

    def script(self, *behaviours: Behaviour) -> None:
        """Use these for the next calls, one each."""
        with self._lock:
            self._script += behaviours

    def respond(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Response:
        """Record a request and find the response to it."""
        with self._lock:
            call = Call(len(self.calls) + 1, path, headers, body, time.monotonic())
            self.calls.append(call)
            behave = self._script.pop(0) if self._script else self.behave
            self._n_running += 1
            self.peak = max(self.peak, self._n_running)
        response = behave(call)
        self._closing.wait(response.delay_s)
        return response

    def ended(self, response: Response | None) -> None:
        """Count a request that is over; `response` is given when all of it was sent."""
        with self._lock:
            self._n_running -= 1
            if response is not None:
                n_in, n_out = response.tokens
                self.tokens = (self.tokens[0] + n_in, self.tokens[1] + n_out)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no news."""


def _handler(provider: FakeProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1  # header and body in one packet

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            response = provider.respond(self.path, headers, json.loads(raw))
            sent = None
            try:
                self._send(response)
                sent = response if response.reset_after is None else None
            finally:
                provider.ended(sent)

        def _send(self, response: Response) -> None:
            if response.reset_after == 0:
                self._reset()
                return
            self.send_response(response.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(response.body)))
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.end_headers()
            for part in _parts(response):
                self.wfile.write(part)
                self.wfile.flush()
                time.sleep(response.trickle_s)
            if response.reset_after is not None:
                self._reset()

        def _reset(self) -> None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_OFF)
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    return Handler


def _parts(response: Response) -> list[bytes]:
    """The pieces of the body that are sent, with a pause after each."""
    body = response.body[: response.reset_after]
    return [bytes([byte]) for byte in body] if response.trickle_s else [body]
