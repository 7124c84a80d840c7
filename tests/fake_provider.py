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
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

from tasks.lib.gateway.fence import CandidateBlock, parse_block
from tests.protocols import limit_of, messages_of, translated

SERVED_MODEL = "fake-2025-01-01"
BYTES_PER_TOKEN = 4
USD_IN, USD_OUT = 1e-6, 4e-6  # per token, as its routes state
LINGER_OFF = struct.pack("ii", 1, 0)  # closing then sends a reset
LISTINGS = ("/models", "/api/tags", "/api/show")  # LiteLLM asks Ollama about its model, too
HANG_S = 60.0  # longer than any test waits


@dataclass(frozen=True)
class Call:
    """One request as it arrived."""

    n: int  # from 1, in order of arrival
    path: str
    headers: dict[str, str]  # names in small letters
    body: dict[str, Any]  # empty for a GET
    arrived_s: float

    @property
    def messages(self) -> list[dict[str, str]]:
        return messages_of(self.path, self.body)

    @property
    def block(self) -> CandidateBlock:
        """The candidates and the number to pick; a re-ask only adds to the question."""
        blocks = (parse_block(message["content"]) for message in self.messages)
        return next(block for block in blocks if block is not None)

    @property
    def item(self) -> tuple[str, str]:
        """The request and the response to rate."""
        (question,) = [m["content"] for m in self.messages if "\nA line with " in m["content"]]
        word = question.partition("\nA line with ")[2][:8]
        _, request, response, _ = re.split(rf"\n----- {word} \w+ -----\n", question)
        return request, response

    @property
    def is_reask(self) -> bool:
        """Whether it names the problem with the previous reply."""
        return any(message["role"] == "assistant" for message in self.messages)

    @property
    def prompt_tokens(self) -> int:
        n_bytes = sum(len(message["content"].encode()) for message in self.messages)
        return -(-n_bytes // BYTES_PER_TOKEN)


@dataclass(frozen=True)
class Response:
    """The response to a call, and what goes wrong on the way."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    tokens: tuple[int, int] = (0, 0)  # prompt and completion, billed whether they arrive or not
    delay_s: float = 0.0  # before the first byte
    trickle_s: float = 0.0  # between bytes
    reset_after: int | None = None  # bytes of the body, then the connection breaks
    fault: str = ""  # its name in FAULTS; "" for an answer


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
    """Answer with a chat completion with this text.

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
    """Fail in the way with this name."""
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

    Attributes:
        calls: All requests so far, in order of arrival.
        book: What was billed for them, in the order of the responses.
        peak: The maximum number of requests that waited for a response at the same time.
        listed: The rows of its list of models; None if it has no list.
        n_listings: How often that list was requested, which is not among the calls.
        refuses: A key with which that list is refused.
        batches: Its files and batches.
    """

    def __init__(
        self, behave: Behaviour = honest, latency_s: tuple[float, float] = (0.0, 0.0)
    ) -> None:
        self.behave = behave
        self.calls: list[Call] = []
        self.book: list[Entry] = []
        self.peak = 0
        self.listed: list[dict[str, Any]] | None = None
        self.n_listings = 0
        self.refuses = ""
        self.batches = FakeBatches(self)
        self._latency_s = latency_s
        self._sent: list[tuple[int, int]] = []  # tokens of each response that was sent whole
        self._script: list[Behaviour] = []
        self._n_waiting = self._n_sending = 0
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
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
        return f"http://127.0.0.1:{self._server.server_port}"

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


class FakeBatches:
    """The files and batches of a provider, in OpenAI's protocol.

    A batch is answered and billed when it is created, request by request, as if these were single
    calls.

    Attributes:
        requests: All requests for files and batches so far, such as "POST /v1/batches".
        batches: All batches, by id.
        n_looks: The number of looks at a batch before it ends.
        status: How a batch ends.
        share: The share of its requests that are answered by then.
        spoil: Changes the lines of the output file.
        error: The code and message with which the validation of a batch fails, if any.
        max_requests: The largest batch that is accepted.
        notice: Called with each request, before and after it is done; returns whether the request
            is lost, or its response.
    """

    def __init__(self, provider: "FakeProvider") -> None:
        self.requests: list[str] = []
        self.batches: dict[str, dict[str, Any]] = {}
        self.n_looks = 1
        self.status, self.share = "completed", 1.0
        self.spoil: Callable[[list[bytes]], list[bytes]] = lambda lines: lines
        self.error: tuple[str, str] | None = None
        self.max_requests = 10**9
        self.notice: Callable[[str, bool], bool] = lambda request, is_done: False
        self._provider = provider
        self._files: dict[str, bytes] = {}
        self._script: list[tuple[str, Response, bool]] = []
        self._lock = threading.RLock()

    @property
    def sizes(self) -> list[int]:
        """The number of requests of each batch."""
        return [batch["request_counts"]["total"] for batch in self.batches.values()]

    @property
    def is_script_done(self) -> bool:
        """Whether all scripted responses were used."""
        return not self._script

    def script(self, request: str, response: Response, *, is_done: bool = False) -> None:
        """Respond so to the next request like "POST /v1/files"; also do what it asks if is_done."""
        self._script.append((request, response, is_done))

    def respond(self, request: str, body: bytes) -> Response:
        """Respond to a request."""
        with self._lock:
            self.requests.append(request)
            if self.notice(request, False):
                return Response(reset_after=0)
            scripted = next((s for s in self._script if request.startswith(s[0])), None)
            if scripted:
                self._script.remove(scripted)
                if scripted[2]:
                    self._do(request, body)
                return scripted[1]
            response = self._do(request, body)
            return Response(reset_after=0) if self.notice(request, True) else response

    def _do(self, request: str, body: bytes) -> Response:  # noqa: PLR0911
        method, _, path = request.partition(" ")
        kind, item, *rest = [*path.partition("?")[0].removeprefix("/v1/").split("/"), ""]
        if kind == "files" and method == "POST":
            return self._shown(self._file(_uploaded(body)))
        if kind == "files" and item in self._files:
            return Response(body=self._files[item])
        if kind == "batches" and method == "POST" and not item:
            return self._shown(self._create(json.loads(body)))
        if kind == "batches" and not item:
            newest = list(self.batches.values())[::-1]
            return self._shown({"object": "list", "data": newest, "has_more": False})
        if item not in self.batches:
            return _failure(404, f"No such object: {item}")
        batch = self.batches[item]
        if rest[0] == "cancel":
            if batch["status"] in ("completed", "failed", "expired", "cancelled"):
                return _failure(409, "The batch has already ended")
            batch["end"] = "cancelled"
        elif batch["looks"]:
            batch["looks"] -= 1
            batch["status"] = "in_progress"
        else:
            self._end(batch)
        return self._shown(batch)

    def _file(self, content: bytes) -> dict[str, Any]:
        file_id = f"file-{len(self._files) + 1}"
        self._files[file_id] = content
        shown = {"id": file_id, "object": "file", "bytes": len(content), "created_at": 1}
        return shown | {"filename": "requests.jsonl", "purpose": "batch", "status": "processed"}

    def _create(self, asked: dict[str, Any]) -> dict[str, Any]:
        lines = [json.loads(line) for line in self._files[asked["input_file_id"]].splitlines()]
        batch_id = f"batch_{len(self.batches) + 1}"
        counts = {"total": len(lines), "completed": 0, "failed": 0}
        batch: dict[str, Any] = asked | {"id": batch_id, "object": "batch", "created_at": 1}
        batch |= {"status": "validating", "request_counts": counts, "looks": self.n_looks}
        batch["end"], self.batches[batch_id] = self.status, batch
        error = self.error
        if len(lines) > self.max_requests:
            error = ("token_limit_exceeded", "Enqueued token limit reached. Limit: 2,000,000")
        if error:
            batch["end"], batch["errors"] = "failed", {"object": "list", "data": []}
            batch["errors"]["data"].append({"code": error[0], "message": error[1], "line": None})
            return batch
        assert len({line["custom_id"] for line in lines}) == len(lines)
        n_answered = round(self.share * len(lines))
        replies, errors = [], []
        for line in lines[:n_answered]:
            response = self._provider.respond(line["url"], {}, line["body"])
            said = {"status_code": response.status, "body": json.loads(response.body)}
            whole = {"id": "r", "custom_id": line["custom_id"], "response": said, "error": None}
            is_reply = response.status == 200
            counts["completed" if is_reply else "failed"] += 1
            (replies if is_reply else errors).append(json.dumps(whole).encode())
        if self.status == "expired":
            late = {"code": "batch_expired", "message": "This request could not be executed."}
            for line in lines[n_answered:]:
                whole = {"id": "r", "custom_id": line["custom_id"], "response": None, "error": late}
                errors.append(json.dumps(whole).encode())
        batch["out"] = (self.spoil(replies), errors)
        return batch

    def _end(self, batch: dict[str, Any]) -> None:
        if batch["status"] != batch["end"]:
            batch["status"] = batch["end"]
            for name, lines in zip(("output", "error"), batch.get("out", ()), strict=False):
                if lines:
                    batch[f"{name}_file_id"] = self._file(b"\n".join(lines) + b"\n")["id"]

    def _shown(self, shown: dict[str, Any]) -> Response:
        return Response(body=json.dumps(shown, default=repr).encode())


def _uploaded(body: bytes) -> bytes:
    """Return the file in a multipart form."""
    boundary = body.partition(b"\r\n")[0]
    part = next(part for part in body.split(boundary) if b"filename=" in part)
    return part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")


def _failure(status: int, message: str) -> Response:
    error = {"message": message, "type": "error", "code": None, "param": None}
    return Response(status, json.dumps({"error": error}).encode())


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
            """Log nothing."""

    return Handler


def _parts(response: Response) -> list[bytes]:
    """Split the body into the pieces that are sent, with a pause after each piece."""
    body = response.body[: response.reset_after]
    return [bytes([byte]) for byte in body] if response.trickle_s else [body]
