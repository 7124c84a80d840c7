"""A provider on this machine for the real client to talk to, in OpenAI's protocol or another.

    with FakeProvider() as provider:
        provider.script(fails(429, retry_after=0), says("I like the third one."))
        ...  # point a route at provider.deployment()
        assert len(provider.calls) == 3

A behaviour (see `tests.behaviours`) turns a call into a response. Scripted behaviours are used in
the order of arrival; then `provider.behave` answers, which is honest unless a test sets it.

The provider's book is stricter than any real bill: it bills everything that was written, even if
the connection broke before the first byte.

    with FakeProvider(faulty(FAULTS, rate=0.3, seed=1)) as provider:
        ...
        assert ledger_tokens == provider.reported_tokens <= provider.billed_tokens
"""

import json
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from typing import Any, NamedTuple, Self

from tests.behaviours import FAULTS, HANG_S, Behaviour, honest
from tests.exchange import Call, Response
from tests.fake_batches import FakeBatches
from tests.protocols import translated

USD_IN, USD_OUT = 1e-6, 4e-6  # per token, as its routes state
LINGER_OFF = struct.pack("ii", 1, 0)  # closing then sends a reset
LISTINGS = ("/models", "/api/tags", "/api/show")  # LiteLLM asks Ollama about its model, too


class Entry(NamedTuple):
    """A call in the provider's book."""

    call: Call
    fault: str  # its name in FAULTS; "" for an answer
    tokens: tuple[int, int]  # prompt and completion, billed whether they arrived or not

    @property
    def is_reported(self) -> bool:
        """Whether the client learns the cost."""
        return not self.fault or FAULTS[self.fault].is_reported


def _total(tokens: Iterable[tuple[int, int]]) -> tuple[int, int]:
    n_in, n_out = zip((0, 0), *tokens, strict=True)
    return sum(n_in), sum(n_out)


class FakeProvider:
    """A server in threads of this process.

    Args:
        behave: Answers the calls that are not scripted.
        latency_s: The minimum and maximum seconds that a response takes.
        port: Where it listens; by default on a free port.

    Attributes:
        calls: All requests so far, in order of arrival.
        book: What was billed for them, in the order of the responses.
        peak: The maximum number of requests that waited for a response at the same time.
        listed: The rows of its list of models; None if it has no list.
        n_listings: How often that list was requested, which is not among the calls.
        refuses: A key for which that list is refused.
        batches: Its files and batches.
    """

    def __init__(
        self, behave: Behaviour = honest, latency_s: tuple[float, float] = (0.0, 0.0), port: int = 0
    ) -> None:
        self.behave = behave
        self.calls: list[Call] = []
        self.book: list[Entry] = []
        self.peak = 0
        self.listed: list[dict[str, Any]] | None = None
        self.n_listings = 0
        self.refuses = ""
        self.batches = FakeBatches(self.respond)
        self._latency_s = latency_s
        self._sent: list[tuple[int, int]] = []  # tokens of each response that was sent whole
        self._script: list[Behaviour] = []
        self._n_waiting = self._n_sending = 0
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", port), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def tokens(self) -> tuple[int, int]:
        """Prompt and completion tokens of the responses that were sent completely."""
        with self._changed:  # the client may have a response before its sender notes it down
            self._changed.wait_for(lambda: not self._n_sending, timeout=HANG_S)
            return _total(self._sent)

    @property
    def usd(self) -> float:
        """The price of the responses that were sent completely."""
        n_in, n_out = self.tokens
        return n_in * USD_IN + n_out * USD_OUT

    @property
    def billed_tokens(self) -> tuple[int, int]:
        """Prompt and completion tokens of everything that was written."""
        return _total(entry.tokens for entry in self.book)

    @property
    def reported_tokens(self) -> tuple[int, int]:
        """Prompt and completion tokens of the replies that arrived completely, with usage."""
        return _total(entry.tokens for entry in self.book if entry.is_reported)

    @property
    def n_answers(self) -> Counter[str]:
        """The number of answers to each question, by its hash."""
        questions = (entry.call.messages[:2] for entry in self.book if not entry.fault)
        return Counter(sha256(json.dumps(question).encode()).hexdigest() for question in questions)

    @property
    def origin(self) -> str:
        """The address at which it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return self._server.server_port

    @property
    def api_base(self) -> str:
        """The api_base of a route to it."""
        return f"{self.origin}/v1"

    def deployment(self, **changes: Any) -> dict[str, Any]:
        """Return a route to it, as written in params.yaml."""
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
        """Use these behaviours for the next calls, in order."""
        with self._changed:
            self._script += behaviours

    def respond(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Response:
        """Record a request, find the response to it, and wait until it is due."""
        with self._changed:
            call = Call(len(self.calls) + 1, path, headers, body, time.monotonic())
            self.calls.append(call)
            behave = self._script.pop(0) if self._script else self.behave
            self._n_waiting += 1
            self.peak = max(self.peak, self._n_waiting)
        try:
            response = behave(call)
            if response.reset_after is None and response.body.startswith(b"{"):
                body = translated(path, call.body, response.body)
                response = replace(response, body=body)
            with self._changed:
                self.book.append(Entry(call, response.fault, response.tokens))
            latency_s = random.Random(call.n).uniform(*self._latency_s)
            self._closing.wait(response.delay_s + latency_s)
        finally:
            with self._changed:
                self._n_waiting -= 1
        return response

    def listing(self, path: str, key: str) -> Response:
        """Return the list of models, in OpenAI's form or in Ollama's."""
        self.n_listings += 1
        if self.refuses and self.refuses in key:
            return Response(401, b"{}")
        if self.listed is None:
            return Response(404, b"{}")
        name = "models" if path.endswith("/api/tags") else "data"
        return Response(body=json.dumps({name: self.listed}).encode())

    def sending(self, response: Response, send: Callable[[Response], None]) -> None:
        """Send a response; count its tokens if it was sent completely."""
        with self._changed:
            self._n_sending += 1
        is_whole = False
        try:
            send(response)
            is_whole = response.reset_after is None
        finally:
            with self._changed:
                self._n_sending -= 1
                self._sent += [response.tokens] * is_whole
                self._changed.notify_all()

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
        """Ignore a client that hung up."""


def _handler(provider: FakeProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1  # header and body in one packet

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path.endswith(LISTINGS):
                self._send(provider.listing(self.path, str(self.headers)))
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            if re.match("/v1/(files|batches)", self.path):
                self._send(provider.batches.respond(f"{self.command} {self.path}", body))
                return
            response = provider.respond(self.path, headers, json.loads(body or b"{}"))
            provider.sending(response, self._send)

        do_GET = do_HEAD = do_POST  # noqa: N815  http.server names them

        def _send(self, response: Response) -> None:
            if response.reset_after == 0:
                self._reset()
                return
            if response.wire:
                self.close_connection = True
                self.wfile.writelines(response.wire)
                return
            self.send_response(response.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(response.times * len(response.body)))
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
            """Log nothing."""

    return Handler


def _parts(response: Response) -> Iterable[bytes]:
    """Split the body into the pieces that are sent, with a pause after each piece."""
    body = response.body[: response.reset_after]
    return [bytes([byte]) for byte in body] if response.trickle_s else repeat(body, response.times)
