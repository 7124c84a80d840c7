"""Batches: half price, the same answers as single calls, and every fault of a provider."""

import asyncio
import json
from contextlib import aclosing, closing

import pytest

from tasks.lib.core.errors import LLMError, ParamError
from tasks.lib.gateway import batch_job
from tasks.lib.gateway.batch import BatchBuyer
from tasks.lib.gateway.batch_api import require_batches
from tasks.lib.gateway.gateway import Gateway
from tasks.lib.gateway.request import CallSettings
from tasks.lib.gateway.routes import load_chain
from tasks.lib.journal.journal import Journal
from tasks.llm_select.cascade import JudgeSettings
from tasks.llm_select.judge import Judge
from tests.fake_provider import USD_IN, USD_OUT, FakeProvider, Response, fails, honest
from tests.judge_desk import PROMPT, TOO_LONG, USELESS, on, questions, texts

N = 6


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """A lost batch appears in the list at once."""
    monkeypatch.setattr(batch_job, "APPEAR_S", 0.0)


class Batches:
    """Questions that are asked in batches, with one journal for the whole test."""

    def __init__(self, folder):
        self.journal = folder / "journal.sqlite"
        self.unanswered = set()
        self.spent_usd = 0.0

    def ask(self, deployment, asked, *fallbacks, votes=1, cap_usd=5.0, is_buying=True, **changes):
        """Return the verdicts after batches and single calls."""
        chain = {"mine": deployment} | {f"other{i}": route for i, route in enumerate(fallbacks)}
        routes = load_chain({"models": chain}, "mine", [*chain][1:])
        usual = {"max_attempts": 3, "timeout_s": 50.0, "concurrency": 4, "backoff_s": 0.01}
        calls = CallSettings(seed=0, max_answer_tokens=64, **usual | changes)
        settings = JudgeSettings(PROMPT, False, votes, 500, calls, 3)

        async def talk(journal):
            async with aclosing(Gateway(routes, calls, journal)) as gateway:
                buyer = BatchBuyer(gateway, routes[0], calls, journal, is_buying=is_buying)
                await buyer.buy(lambda source: Judge(source, routes, settings, texts)(asked))
                self.unanswered = buyer.unanswered
                return await Judge(gateway, routes, settings, texts)(asked)

        with closing(Journal(self.journal, cap_usd=cap_usd)) as journal:
            try:
                return asyncio.run(talk(journal))
            finally:
                self.spent_usd = journal.spent_usd

    @property
    def left(self):
        """The files of unfinished batches."""
        return sorted(path.suffix for path in (self.journal.parent / "batches").glob("*"))


@pytest.fixture
def batches(tmp_path):
    return Batches(tmp_path)


def rankings(verdicts):
    return [verdict.slots for verdict in verdicts]


def price(entries):
    return sum(entry.tokens[0] * USD_IN + entry.tokens[1] * USD_OUT for entry in entries)


def test_a_batch_costs_half_and_gives_the_same_verdicts_as_single_calls(
    provider, second, batches, put, book, caplog
):
    caplog.set_level("INFO", logger="selectllm")
    verdicts = batches.ask(provider.deployment(), questions(N))
    usd = price(provider.book[:1]) + price(provider.book[1:]) / 2
    assert batches.spent_usd == pytest.approx(usd)
    assert provider.batches.sizes == [N - 1]  # the first call goes alone
    assert max(provider.n_answers.values()) == 1
    assert book() == ["answer"] * N
    assert batches.left == []
    assert f"batch batch_1: {N - 1} of {N - 1} done (completed)" in caplog.text
    assert rankings(verdicts) == rankings(put(second.deployment(), questions(N)))


def test_the_requests_of_a_batch_have_the_same_bodies_and_keys_as_single_calls(
    provider, second, batches, put, tmp_path, book
):
    changes = {"schema": "always", "temperature": 0.5}
    batches.ask(provider.deployment(**changes), questions(N))
    bodies = [call.body for call in provider.calls]
    keys = set(book("key"))
    batches.journal.unlink()
    put(second.deployment(**changes), questions(N))
    assert sorted(map(json.dumps, (dict(sorted(b.items())) for b in bodies))) == sorted(
        map(json.dumps, (dict(sorted(call.body.items())) for call in second.calls))
    )
    assert set(book("key")) == keys


def error(status):
    return fails(status)(None)


ONCE = [
    ("POST /v1/files", error(429)),
    ("POST /v1/files", error(500)),
    ("POST /v1/files", Response(reset_after=0)),
    ("POST /v1/batches", error(429)),
    ("POST /v1/batches", error(500)),
    ("GET /v1/batches/", error(429)),
    ("GET /v1/batches/", error(503)),
    ("GET /v1/batches/", Response(body=b"<html>")),
    ("GET /v1/files/", error(500)),
    ("GET /v1/files/", error(429)),
]


def test_a_passing_failure_of_any_endpoint_is_retried(batches, provider, book):
    for i, (request, response) in enumerate(ONCE):
        provider.batches.script(request, response)
        size = 2 + i % 2
        asked = [q._replace(candidates=q.candidates + 100 * (i + 1)) for q in questions(size)]
        batches.ask(provider.deployment(), asked)
    assert provider.batches._script == []
    assert set(book()) == {"answer"}
    assert max(provider.n_answers.values()) == 1


@pytest.mark.parametrize("response", [Response(reset_after=0), error(500), error(502)])
def test_a_batch_that_was_created_without_a_response_is_found_again(
    batches, provider, book, response
):
    provider.batches.script("POST /v1/batches", response, is_done=True)
    batches.ask(provider.deployment(), questions(N))
    assert provider.batches.sizes == [N - 1]
    assert max(provider.n_answers.values()) == 1
    assert book() == ["answer"] * N
