"""A provider that lies about its usage, or sends what no client can hold: the cap holds anyway."""

import gzip
import json
import random
import sqlite3
import tracemalloc
from contextlib import closing
from dataclasses import replace

import pytest

from benchmarks.attack.provider import LAYERS
from benchmarks.attack.values import bomb
from tasks.lib.core.errors import LLMError
from tasks.lib.gateway.reply import MAX_NAME
from tasks.lib.gateway.reply_limits import MAX_PARTS
from tests.behaviours import fails, honest
from tests.exchange import Response
from tests.fake_provider import FakeProvider
from tests.judge_desk import questions
from tests.money_desk import price

CAP_USD = 0.006
N = 12
MB = 10**6
MAX_MEMORY = 60 * MB
DEEP = b"[" * 200_000
NUMBERS = {
    "negative": -8,
    "negative and huge": -(10**30),
    "infinite": float("inf"),
    "minus infinite": float("-inf"),
    "not a number": float("nan"),
    "a fraction": 7.5,
    "true": True,
    "a string": "7",
    "words": "many",
    "a list": [7],
    "an object": {"n": 7},
    "10^30": 10**30,
    "10^400": 10**400,
    "2^63": 2**63,
    "a million": 10**6,
    "null": None,
    "zero": 0,
    "one": 1,
}


def changed(change):
    """Answer honestly, except for what `change` does to the body; the honest tokens are billed."""

    def behave(call):
        response = honest(call)
        body = json.loads(response.body)
        change(body)
        return replace(response, body=json.dumps(body).encode())

    return behave


def usage(**lies):
    return changed(lambda body: body["usage"].update(lies))


def body(**lies):
    return changed(lambda body: body.update(lies))


def choice(**lies):
    return changed(lambda body: body["choices"][0].update(lies))


def message(**lies):
    return changed(lambda body: body["choices"][0]["message"].update(lies))


def raw(content, times=1, **headers):
    """Serve this body, and bill an honest answer."""
    return lambda call: replace(honest(call), body=content, times=times, headers=headers)


def packed(content, encoding="gzip"):
    return raw(content, **{"Content-Encoding": encoding})


def details(name, part, n):
    return usage(**{name: {part: n}})


LIES = {
    **{f"prompt tokens: {name}": usage(prompt_tokens=n) for name, n in NUMBERS.items()},
    **{f"completion tokens: {name}": usage(completion_tokens=n) for name, n in NUMBERS.items()},
    "total tokens: 10^30": usage(total_tokens=10**30),
    "total tokens: negative": usage(total_tokens=-4),
    "all tokens: few": usage(prompt_tokens=70, completion_tokens=4, total_tokens=74),
    "all tokens: one": usage(prompt_tokens=1, completion_tokens=1, total_tokens=2),
    "all tokens: zero": usage(prompt_tokens=0, completion_tokens=0, total_tokens=0),
    "thinking: more than all": details("completion_tokens_details", "reasoning_tokens", 10**9),
    "thinking: negative": details("completion_tokens_details", "reasoning_tokens", -(10**9)),
    "thinking: a fraction": details("completion_tokens_details", "reasoning_tokens", 0.5),
    "cached: more than all": details("prompt_tokens_details", "cached_tokens", 10**9),
    "cached: negative": details("prompt_tokens_details", "cached_tokens", -(10**9)),
    "cached: words": details("prompt_tokens_details", "cached_tokens", "all"),
    "details: a number": usage(completion_tokens_details=5, prompt_tokens_details=5),
    "usage: a list": body(usage=[1]),
    "usage: words": body(usage="none"),
    "usage: null": body(usage=None),
    "model: a number": body(model=5),
    "model: an object": body(model={"name": "x"}),
    "model: a megabyte": body(model="x" * MB),
    "id and created: other types": body(id=5, created="x", object=[]),
    "service tier: a number": body(service_tier=7),
    "choices: an object": body(choices={}),
    "choices: numbers": body(choices=[5]),
    "choices: many": body(choices=[{}] * (MAX_PARTS // 8)),
    "choices: too many": body(choices=[{}] * (MAX_PARTS + 1)),
    "finish reason: a number": choice(finish_reason=5),
    "finish reason: a megabyte": choice(finish_reason="x" * MB),
    "content: a number": message(content=5),
    "content: a megabyte": message(content="x" * MB),
    "content: open brackets": message(content='{"a":' * (MB // 10)),
    "refusal: an object": message(refusal={"a": 1}),
    "reasoning: open brackets": message(content=None, reasoning_content="[{" * (MB // 4)),
    "tool calls: many": message(tool_calls=[{}] * (MAX_PARTS // 8)),
    "an error, with a status of 200": body(error={"message": "no", "code": 500}),
    "only an error, with a status of 200": raw(
        b'{"error": {"message": "Too long a context size"}}'
    ),
    "deep": raw(DEEP),
    "deep in a field": lambda call: replace(
        honest(call), body=honest(call).body[:-1] + b', "x": ' + b"[" * 900 + b"]" * 900 + b"}"
    ),
    "a string without an end": raw(b'{"a": "' + b'\\"' * (MB // 2)),
    "empty": raw(b""),
    "null": raw(b"null"),
    "not UTF-8": raw(b'{"choices": "\xff\xfe"}'),
    "encoded: not gzip": packed(b"{}"),
    "encoded: cut off": packed(gzip.compress(b"{}")[:-9]),
    "encoded: unknown": packed(b"{}", "br"),
    "encoded: twice": packed(gzip.compress(gzip.compress(b"{}")), "gzip, gzip"),
    "an error of 5 MB": lambda call: replace(fails(500)(call), body=b"x" * MB, times=5),
    "a deep error": lambda call: replace(fails(500)(call), body=DEEP),
}
LARGE = {
    "50 MB": raw(b"x" * MB, 50),
    "50 MB of white space": raw(b" " * MB, 50),
    "50 MB of brackets": raw(b"[" * MB, 50),
    "an error of 50 MB": lambda call: replace(fails(500)(call), body=b"x" * MB, times=50),
    "a bomb": packed(bomb(1000)),
    "an error that is a bomb": lambda call: replace(
        fails(400)(call), body=bomb(1000), headers={"Content-Encoding": "gzip"}
    ),
}


@pytest.fixture(scope="module")
def liar(warm_client):
    with FakeProvider() as server:
        yield server


@pytest.fixture
def ask(liar, put, book):
    """Return a function that asks a provider with these replies; it checks the ledger."""

    def ask(lie, n=N, **settings):
        liar.calls.clear()
        liar.book.clear()
        liar.behave = lie
        verdicts = None
        try:
            verdicts = put(
                liar.deployment(), questions(n), cap_usd=CAP_USD, max_attempts=2, **settings
            )
        except LLMError as error:
            assert "Traceback" not in str(error)
            assert len(str(error)) < 2000
        tally = price(liar.billed_tokens)
        assert tally <= put.spent_usd + 1e-9
        assert put.spent_usd <= CAP_USD + 1e-9
        assert sum(book("usd")) == pytest.approx(put.spent_usd)
        assert len(liar.calls) == len(book())
        return verdicts

    return ask


@pytest.mark.slow
def test_no_lie_passes_the_cap_or_ends_in_a_traceback(ask, tmp_path):
    for name, lie in LIES.items():
        (tmp_path / "journal.sqlite").unlink(missing_ok=True)
        try:
            ask(lie)
        except Exception as error:
            error.add_note(f"the lie: {name}")
            raise


def layered(seed):
    """Answer with a few random kinds of lies on top of each other; all of them are short."""
    rng = random.Random(seed)
    layers = [layer for layer in LAYERS if layer.__name__ not in {"size", "delivery", "framing"}]
    chosen, share = rng.sample(layers, rng.randint(1, 3)), rng.choice((0.3, 1.0))

    def behave(call):
        chance = random.Random(f"{seed}/{call.n}")
        response = honest(call)
        for layer in chosen if chance.random() < share else ():
            response = layer(chance, response)
        return response

    return behave


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_lies_on_top_of_each_other_pass_neither_the_cap_nor_the_ledger(ask, seed):
    ask(layered(seed), n=3)


@pytest.mark.slow
def test_a_reply_of_any_size_takes_little_memory(ask, tmp_path):
    for name, lie in LARGE.items():
        (tmp_path / "journal.sqlite").unlink(missing_ok=True)
        tracemalloc.start()
        try:
            ask(lie, n=1)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < MAX_MEMORY, name


@pytest.mark.parametrize(
    "lie",
    [
        "prompt tokens: negative",
        "prompt tokens: infinite",
        "completion tokens: a fraction",
        "completion tokens: 10^30",
        "completion tokens: true",
        "thinking: more than all",
        "usage: words",
        "total tokens: 10^30",
    ],
)
def test_an_answer_with_an_impossible_usage_is_kept_and_counts_at_the_most(ask, book, lie):
    (verdict,) = ask(LIES[lie], n=1)
    assert verdict.ballots
    assert book("outcome, is_upper_bound") == [("answer", 1)]


def test_a_long_name_of_a_model_is_cut(ask, tmp_path):
    ask(LIES["model: a megabyte"], n=1)
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as db:
        assert db.execute("SELECT model FROM answers").fetchall() == [("x" * MAX_NAME,)]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_is_followed(liar, second, put, status):
    target = {"Location": f"{second.api_base}/chat/completions"}
    liar.behave = lambda call: Response(status, headers=target)
    with pytest.raises(LLMError, match=r"redirects to 127\.0\.0\.1") as caught:
        put(liar.deployment(), questions(1))
    assert "api_base" in str(caught.value)
    assert not second.calls
    assert put.spent_usd == 0
