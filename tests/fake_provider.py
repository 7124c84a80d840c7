"""A provider on this machine for the real client to talk to, in OpenAI's protocol or another.

    with FakeProvider() as provider:
        provider.script(fails(429, retry_after=0), says("I like the third one."))
        ...  # point a route at provider.deployment()
        assert len(provider.calls) == 3

A behaviour turns a call into a response. Scripted behaviours are used in the order of arrival;
then `provider.behave` answers, which is honest unless a test sets it.

`FAULTS` is the table of possible faults, by name; `faulty` draws from it. The provider's book is
stricter than any real bill: it bills everything that was written, even if the connection broke
before the first byte.

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
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from string import ascii_uppercase
from typing import Any, NamedTuple, Self

from tests.exchange import BYTES_PER_TOKEN, Call, Response
from tests.fake_batches import FakeBatches
from tests.protocols import limit_of, translated

SERVED_MODEL = "fake-2025-01-01"
USD_IN, USD_OUT = 1e-6, 4e-6  # per token, as its routes state
LINGER_OFF = struct.pack("ii", 1, 0)  # closing then sends a reset
LISTINGS = ("/models", "/api/tags", "/api/show")  # LiteLLM asks Ollama about its model, too
HANG_S = 60.0  # longer than any test waits


Behaviour = Callable[[Call], Response]


def says(
    text: str | None,
    finish_reason: str = "stop",
    *,
    usage: bool = True,
    n_thoughts: int = 0,
    n_cached: int = 0,
    message: dict[str, Any] | None = None,
    choice: dict[str, Any] | None = None,
    **extra: Any,
) -> Behaviour:
    """Answer with a chat completion that has this text.

    Args:
        text: The content.
        finish_reason: Why the reply ends.
        usage: Whether the usage is reported.
        n_thoughts: Tokens of thinking, which are part of the completion tokens.
        n_cached: Prompt tokens from the cache.
        message: More fields of the message.
        choice: More fields of the choice.
        extra: More fields of the completion.
    """

    def behave(call: Call) -> Response:
        n_out = -(-len((text or "").encode(errors="replace")) // BYTES_PER_TOKEN) + n_thoughts
        said = {"role": "assistant", "content": text} | (message or {})
        body = {
            "id": f"chatcmpl-{call.n}",
            "object": "chat.completion",
            "created": 1,
            "model": SERVED_MODEL,
            "service_tier": "on_demand",  # LiteLLM needs it from groq
            "choices": [
                {"index": 0, "finish_reason": finish_reason, "message": said} | (choice or {})
            ],
        }
        if usage:
            body["usage"] = {
                "prompt_tokens": call.prompt_tokens,
                "completion_tokens": n_out,
                "total_tokens": call.prompt_tokens + n_out,
                "completion_tokens_details": {"reasoning_tokens": n_thoughts},
                "prompt_tokens_details": {"cached_tokens": n_cached},
            }
        return Response(body=json.dumps(body | extra).encode(), tokens=(call.prompt_tokens, n_out))

    return behave


def picks(*slots: Any) -> Behaviour:
    """Pick these slots, in the required form."""
    return says(json.dumps({"picks": slots}))


def writes_letter(
    bias: Sequence[float] = (), *, n_top: int = 20, others: Sequence[str] = ("The", "A river")
) -> Behaviour:
    """Answer with a letter and log-probabilities, which are higher early in the alphabet.

    Args:
        bias: What is added to the log-probability of each slot from the first.
        n_top: The most tokens that are reported.
        others: Likely tokens that are no letters.
    """

    def behave(call: Call) -> Response:
        texts = call.block.texts
        rank = {text: i for i, text in enumerate(sorted(texts))}
        logprobs = {
            f" {ascii_uppercase[i]}": -1.0 - rank[text] + sum(bias[i : i + 1])
            for i, text in enumerate(texts)
        }
        letter = max(logprobs, key=lambda token: logprobs[token])
        tokens = [{"token": t, "logprob": v} for t, v in logprobs.items()]
        tokens += [{"token": token, "logprob": -0.5} for token in others]
        tokens.sort(key=lambda token: -token["logprob"])
        content = [tokens[0] | {"top_logprobs": tokens[: min(n_top, call.body["top_logprobs"])]}]
        return says(letter, "length", choice={"logprobs": {"content": content}})(call)

    return behave


def rates(score: float) -> Behaviour:
    """Give this rating, in the required form."""
    return says(json.dumps({"score": score}))


def honest(call: Call) -> Response:
    """Pick the texts that come first in the alphabet, whatever their slots."""
    texts, n_picks = call.block
    order = sorted(range(len(texts)), key=lambda i: texts[i])
    return picks(*(i + 1 for i in order[:n_picks]))(call)


def fails(
    status: int,
    message: str = "something is wrong",
    code: str | None = None,
    retry_after: float | str | None = None,
    param: str | None = None,
) -> Behaviour:
    """Fail with an error in OpenAI's form."""
    error = {"message": message, "type": "error", "code": code, "param": param}
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return lambda call: Response(status, json.dumps({"error": error}).encode(), headers)


def thinks(n_tokens: int, then: Behaviour = honest) -> Behaviour:
    """Think before behaving like `then`; a reply without room for both is empty, but billed."""

    def behave(call: Call) -> Response:
        text = json.loads(then(call).body)["choices"][0]["message"]["content"]
        n_answer = -(-len(text) // BYTES_PER_TOKEN)
        limit = limit_of(call.path, call.body)
        if n_tokens + n_answer > limit:
            return says("", "length", n_thoughts=limit)(call)
        return says(text, n_thoughts=n_tokens)(call)

    return behave


def garbled(body: bytes) -> Behaviour:
    """Answer with status 200 and a body that is not a chat completion."""
    return lambda call: Response(body=body)


def resets(after: int = 0) -> Behaviour:
    """Break the connection after this many bytes of an honest answer."""
    return lambda call: replace(honest(call), reset_after=after)


def late(delay_s: float, then: Behaviour = honest) -> Behaviour:
    """Behave like `then`, but only after a delay."""
    return lambda call: replace(then(call), delay_s=delay_s)


def trickles(pause_s: float) -> Behaviour:
    """Send an honest answer byte by byte."""
    return lambda call: replace(honest(call), trickle_s=pause_s)


def _cut(call: Call) -> Response:
    response = honest(call)
    return replace(response, body=response.body[: len(response.body) // 2])


def _unmetered(call: Call) -> Response:
    text = json.loads(honest(call).body)["choices"][0]["message"]["content"]
    return says(text, usage=False)(call)


class Fault(NamedTuple):
    """A kind of failure."""

    behave: Behaviour
    is_reported: bool  # whether the client learns the cost: nothing, or a whole reply with usage


TOO_LONG = "This model's maximum context length is 100 tokens. Please reduce the length."
FILTERED = "The response was filtered due to the content management policy."
FAULTS = {
    "429": Fault(fails(429, "Rate limit reached"), True),
    "429 with Retry-After": Fault(fails(429, "Rate limit reached", retry_after=0.02), True),
    "500": Fault(fails(500), True),
    "502": Fault(fails(502), False),
    "503": Fault(fails(503, "overloaded"), True),
    "504": Fault(fails(504), False),
    "time-out": Fault(late(HANG_S), False),
    "reset before the reply": Fault(resets(), False),
    "reset amid the body": Fault(resets(40), False),
    "body cut short": Fault(_cut, False),
    "garbled body": Fault(garbled(b"<html>gateway</html>"), False),
    "no choices": Fault(says("[1]", choices=[]), True),
    "no usage": Fault(_unmetered, False),
    "no content": Fault(says(None), True),
    "prose": Fault(says("I could not decide between them."), True),
    "slot out of range": Fault(picks(99), True),
    "a slot twice": Fault(lambda call: picks(*[1] * (call.block.n_picks + 1))(call), True),
    "no picks": Fault(picks(), True),
    "filtered reply": Fault(says("", "content_filter"), True),
    "refusal": Fault(says(None, message={"refusal": "I cannot help with that."}), True),
    "cut off": Fault(thinks(10**6), True),
    "error in a choice": Fault(says("", "error", choice={"error": {"code": 502}}), True),
    "limit in a choice": Fault(
        says("[1]", "error", choice={"error": {"code": 429, "message": "slow down"}}), True
    ),
    "filtered question": Fault(fails(400, FILTERED, "content_policy_violation"), True),
    "too long": Fault(fails(400, TOO_LONG, "context_length_exceeded"), True),
}


def fault(name: str) -> Behaviour:
    """Fail in the way that `FAULTS` defines under this name."""
    return lambda call: replace(FAULTS[name].behave(call), fault=name)


def faulty(names: Collection[str], *, rate: float, seed: int) -> Behaviour:
    """Answer each call with a random fault at the given rate, otherwise honestly."""

    def behave(call: Call) -> Response:
        rng = random.Random(f"{seed}/{call.n}")
        is_hit = rng.random() < rate
        return (fault(rng.choice(sorted(names))) if is_hit else honest)(call)

    return behave


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
        self,
        behave: Behaviour = honest,
        latency_s: tuple[float, float] = (0.0, 0.0),
        port: int = 0,
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
