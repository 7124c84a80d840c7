"""A: a provider that lies about its usage, and sends what no client expects."""

import gzip
import itertools
import json
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.attack import trial, values
from benchmarks.attack.trial import Finding, broken
from tests.behaviours import Behaviour, honest
from tests.exchange import Call, Response
from tests.fake_provider import Entry, FakeProvider
from tests.money_desk import MoneyDesk, price

KEY = "Qz7vLr2mWx9kTb4nPd6s"
MB = 10**6
N_PROMPTS = 8
USAGES = (
    *("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens"),
    *("cache_read_input_tokens", "cache_creation_input_tokens", "cost", "num_search_queries"),
)
DETAILS = {
    "completion_tokens_details": ("reasoning_tokens", "audio_tokens", "text_tokens", "n_images"),
    "prompt_tokens_details": ("cached_tokens", "audio_tokens", "cache_creation_tokens"),
}
STATUSES = (200, 200, 201, 204, 206, 299, 304, 400, 401, 402, 403, 404, 408, 409, 413, 418, 422)
STATUSES += (429, 429, 451, 499, 500, 502, 503, 504, 520, 529, 599, 999, 301, 302, 307, 308)
RETRY_AFTER = (
    *("-1", "-99999", "0", "0.001", "1e309", "nan", "inf", "-inf", "9" * 400, "soon", "", "1,2"),
    *("Wed, 21 Oct 2015 07:28:00 GMT", "Thu, 99 Foo 2999 99:99:99 GMT", "86401", "\xb2", "0x10"),
)
TYPES = (
    "text/html",
    "text/event-stream",
    "application/octet-stream",
    "",
    "x" * 2000,
    "a/b; c=\xe9",
)

Layer = Callable[[random.Random, Response], Response]


def attack(rng: random.Random, root: Path, patience: float) -> tuple[str, list[Finding]]:
    """Run the judge with a provider that lies in a few ways, and check the ledger."""
    chosen = [rng.choice(LAYERS) for _ in range(rng.randint(1, 3))]
    share, seed = rng.choice((0.3, 0.7, 1.0)), rng.random()

    def lies(call: Call) -> Response:
        chance = random.Random(f"{seed}/{call.n}")
        response = honest(call)
        for layer in chosen if chance.random() < share else ():
            response = layer(chance, response)
        return response

    cap_usd = rng.choice((0.01, 0.03, 0.1))
    words = {
        "max_usd": cap_usd, "max_attempts": rng.randint(1, 3), "timeout_s": 25.0,
        "concurrency": rng.choice((1, 2, 8)), "votes": rng.choice((1, 1, 2)),
        "fallback_routes": rng.choice(([], ["spare"])),
        "batch": rng.random() < 0.1, "rationale": rng.random() < 0.3,
    }  # fmt: skip
    schema = rng.choice(("never", "auto", "always"))
    title = f"{'+'.join(layer.__name__ for layer in chosen)} at {share} {words} {schema}"
    return title, judged(lies, words, root, patience, schema=schema)


def judged(
    lies: Behaviour, words: dict[str, Any], root: Path, patience: float, **route: Any
) -> list[Finding]:
    """Run the judge with this provider, and return what it achieved."""
    desk = MoneyDesk(root, N_PROMPTS)
    with FakeProvider(lies) as provider:
        route = provider.deployment(api_key="os.environ/MY_ACCESS", **route)
        desk.set(route, **words)
        desk.update(models={"mine": route, "spare": route | {"model": "openai/spare"}})
        env = {"MY_ACCESS": KEY, "DVC_ROOT": trial.UNSET}
        ran = trial.run("benchmarks.attack.quick_step", cwd=root, env=env, patience=patience)
        tally = sum(served_usd(entry) for entry in provider.book)
    found = list(trial.ending(ran))
    rows = desk.ledger() if desk.journal.exists() else []
    usd = sum(row.usd for row in rows)
    if not provider.calls and not provider.batches.requests:
        found.append(broken(f"the attack made no call: {ran.output[-300:]}"))
    if tally > usd + 1e-9:
        found.append(broken(f"served {tally:.6f} USD, recorded {usd:.6f}"))
    if not usd <= words["max_usd"] + 1e-9:
        found.append(broken(f"recorded {usd:.6f} USD, above the cap of {words['max_usd']}"))
    if tally > words["max_usd"] + 1e-9:
        found.append(broken(f"served {tally:.6f} USD, above the cap of {words['max_usd']}"))
    if ran.status == 0:
        found += _outputs(desk)
    return found + leaks(root, ran.output, KEY)


def served_usd(entry: Entry) -> float:
    """Return the price of a call; those of a batch, which have no headers, cost half."""
    return price(entry.tokens) / (1 if entry.call.headers else 2)


def _outputs(desk: MoneyDesk) -> Iterator[Finding]:
    """Yield what is wrong with the outputs of a step that says it is done."""
    ballots, usage = desk.ballots(), desk.usage()
    if {row["id"] for row in ballots} - {id_ for prompt in desk.prompts for id_ in prompt}:
        yield broken("the ballots have other records than the prompts")
    if not all(0 <= row["score"] <= 1 for row in ballots):
        yield broken("a score is not between 0 and 1")
    if len({row["prompt"] for row in ballots}) < N_PROMPTS and not usage["partial"]:
        yield broken("a part of the prompts is judged, and no label says so")
    json.loads(desk.out("usage.json").read_text(), parse_constant=_refuse)


def _refuse(constant: str) -> Any:
    raise ValueError(f"usage.json has {constant}")


def leaks(root: Path, output: str, secret: str) -> list[Finding]:
    """Return the places that contain 8 or more consecutive characters of a secret."""
    pieces = [secret[i : i + 8].encode() for i in range(len(secret) - 7)]
    places = {"the output": output.encode()}
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            places[str(path.relative_to(root))] = path.read_bytes()
    return [
        broken(f"a secret is in {name}")
        for name, content in places.items()
        if any(piece in content for piece in pieces)
    ]


def _changed(response: Response, change: Callable[[Any], None]) -> Response:
    try:
        body = json.loads(response.body)
        change(body)
        return replace(response, body=values.dumps(body))
    except (ValueError, RecursionError, KeyError, TypeError):
        return response


def usage(rng: random.Random, response: Response) -> Response:
    """Report numbers that no request can have."""

    def change(body: Any) -> None:
        counts = body.setdefault("usage", {})
        for name in rng.sample(USAGES, rng.randint(1, 4)):
            counts[name] = values.number(rng) if rng.random() < 0.8 else values.value(rng)
        for name, parts in DETAILS.items():
            if rng.random() < 0.3:
                counts[name] = {part: values.number(rng) for part in parts}

    return _changed(response, change)


def plausible_usage(rng: random.Random, response: Response) -> Response:
    """Report fewer tokens than were used, but not by much."""

    def change(body: Any) -> None:
        share = rng.choice((0.0, 0.05, 0.3, 0.6, 0.9))
        counts = body["usage"]
        for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
            counts[name] = int(counts[name] * share)

    return _changed(response, change)


def edits(rng: random.Random, response: Response) -> Response:
    """Change the reply anywhere."""

    def change(body: Any) -> None:
        for _ in range(rng.randint(1, 5)):
            values.edit(rng, body)

    return _changed(response, change)


def answer(rng: random.Random, response: Response) -> Response:
    """Answer with another text than a list of slots."""

    def change(body: Any) -> None:
        picks = [rng.choice((1, 2, 3, 1.0, "1", None, True, 10**400, -1)) for _ in range(3)]
        texts = [
            values.text(rng, 30), json.dumps({"picks": picks}), json.dumps(picks) * 300,
            '{"picks": [1' + ", 1" * 10**5, "[" * 10**5, "9" * 10**5, '{"picks": [1e999]}',
            f"<think>{KEY}", KEY, KEY[::-1] + KEY, "\x00" * 10**4, "\ud800",
        ]  # fmt: skip
        message = body["choices"][0]["message"]
        name = rng.choice(("content", "content", "refusal", "reasoning_content"))
        message[name] = rng.choice(texts)

    return _changed(response, change)


def dialect(rng: random.Random, response: Response) -> Response:
    """Write something that is nearly JSON."""
    body = response.body
    return replace(
        response,
        body=rng.choice((
            lambda: body + body, lambda: b"\xef\xbb\xbf" + body, lambda: b"data: " + body + b"\n\n",
            lambda: body[: rng.randrange(len(body) + 1)], lambda: b"[" + body + b"]",
            lambda: body.decode("latin-1").encode("utf-16"), lambda: b" " * MB + body,
            lambda: body[:-1] + b', "usage": {"prompt_tokens": 1, "completion_tokens": 0}}',
            lambda: b'{"usage": null, ' + body[1:], lambda: _flipped(rng, body),
            lambda: body.replace(b'"', b"'"), lambda: body + b"\x00" * 1000,
            lambda: body[:-1] + b', "n": ' + b"9" * 10**5 + b"}",
            lambda: body[:-1] + b', "n": ' + b"[" * rng.choice((50, 70, 10**6)),
            lambda: b"{" + b'"a": {}, ' * rng.choice((4000, 10**5)) + body[1:],
        ))(),
    )  # fmt: skip


def _flipped(rng: random.Random, body: bytes) -> bytes:
    flipped = bytearray(body)
    for _ in range(rng.randint(1, 20) if body else 0):
        flipped[rng.randrange(len(flipped))] = rng.randrange(256)
    return bytes(flipped)


def encoding(rng: random.Random, response: Response) -> Response:
    """Pack the reply in a way that was not asked for, or that cannot be unpacked."""
    body = response.body
    name, packed = rng.choice((
        ("gzip", gzip.compress(body)), ("gzip", gzip.compress(body)[: rng.randrange(20, 60)]),
        ("gzip", body), ("GZIP", gzip.compress(body)), ("deflate", zlib.compress(body)),
        ("br", body), ("zstd", body), ("gzip, gzip", gzip.compress(gzip.compress(body))),
        ("gzip", gzip.compress(body) + gzip.compress(body)), ("x-gzip", gzip.compress(body)),
        ("gzip", values.bomb(rng.choice((5, 1000)))), ("identity", body), ("\x1b[31m", body),
        ("gzip", gzip.compress(b"")[:10] + b"\x00" * 10**6), ("utf-8", body),
    ))  # fmt: skip
    return replace(response, body=packed, headers=response.headers | {"Content-Encoding": name})


def size(rng: random.Random, response: Response) -> Response:
    """Send a body of megabytes."""
    filler = rng.choice((b" ", b"x", b"[", b"{", b'"\\', b"\x00", b"1", b'{"a":1},')) * MB
    return replace(response, body=filler, times=rng.choice((1, 5, 60)))


def status(rng: random.Random, response: Response) -> Response:
    """Answer with another status, and with the headers that come with it."""
    code = rng.choice(STATUSES)
    words = rng.choice((values.text(rng), f"key {KEY} is wrong", "x" * MB, "context length", ""))
    error = rng.choice((
        {"error": {"message": words, "code": values.value(rng), "type": values.value(rng)}},
        {"error": words}, {"detail": [values.value(rng)]}, values.value(rng),
    ))  # fmt: skip
    headers = dict(response.headers)
    if rng.random() < 0.5:
        headers["Retry-After"] = rng.choice(RETRY_AFTER)
    if 300 <= code < 400:
        headers["Location"] = rng.choice(
            ("http://127.0.0.1:9/v1", "//evil.example", "\x1b[31m", "/")
        )
    if rng.random() < 0.3:
        headers["Content-Type"] = rng.choice(TYPES)
    keeps_body = rng.random() < 0.3
    return replace(
        response,
        status=code,
        body=response.body if keeps_body else values.dumps(error),
        headers=headers,
        tokens=response.tokens if code < 300 else (0, 0),  # nobody bills an error
    )


def delivery(rng: random.Random, response: Response) -> Response:
    """Break off, or send slowly."""
    n = len(response.body)
    return rng.choice((
        replace(response, reset_after=0), replace(response, reset_after=rng.randrange(n + 1)),
        replace(response, trickle_s=0.05, body=response.body[:200]), replace(response, delay_s=27),
    ))  # fmt: skip


def framing(rng: random.Random, response: Response) -> Response:
    """Send a response that is not what HTTP allows."""
    body, n = response.body, len(response.body)
    ok, json_type = b"HTTP/1.1 200 OK\r\n", b"Content-Type: application/json\r\n"
    length = b"Content-Length: %d\r\n\r\n" % n
    odd = rng.choice((b"-1", b"x", b"1e9", b"9" * 30, b"%d, %d" % (n, n), b"%d" % (n * 2), b"0"))
    chunk = rng.choice((b"%x" % n, b"FFFFFFFFFFFFFFFF", b"-5", b"zz", b"%x;%s" % (n, b"e" * 9000)))
    wires: list[Callable[[], Any]] = [
        lambda: [ok, json_type, b"Content-Length: ", odd, b"\r\n\r\n", body],
        lambda: [ok, json_type, b"Transfer-Encoding: chunked\r\n\r\n", chunk, b"\r\n", body],
        lambda: [ok, json_type, b"Content-Length: 5\r\nContent-Length: 7\r\n\r\n", body],
        lambda: [ok, b"X: " + b"y" * MB + b"\r\n", length, body],
        lambda: [ok, *[b"X-%d: 1\r\n" % i for i in range(9999)], length, body],
        lambda: [b"HTTP/1.1 200 \x1b[31m\r\n", json_type, length, body],
        lambda: [b"ICY 200 OK\r\n", length, body],
        lambda: [b"HTTP/1.1 2000 OK\r\n", length, body],
        lambda: [body],
        lambda: [b"\x16\x03\x01\x00" * 100],
        lambda: [ok, b"Set-Cookie: \xff\xfe\r\nX\x00Y: 1\r\n", length, body],
        lambda: itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n", 10**6),
        lambda: itertools.chain([ok], itertools.repeat(b"X: y\r\n", 10**7)),
        lambda: itertools.chain([ok, json_type, b"\r\n"], itertools.repeat(b" " * MB, 500)),
        lambda: itertools.chain(
            [ok, b"Transfer-Encoding: chunked\r\n\r\n"], itertools.repeat(b"1\r\n \r\n", 10**7)
        ),
    ]  # fmt: skip
    return replace(response, wire=rng.choice(wires)())


LAYERS: tuple[Layer, ...] = (
    *(usage, usage, usage, plausible_usage, edits, edits, answer, dialect, dialect),
    *(encoding, size, status, status, delivery, framing, framing),
)
