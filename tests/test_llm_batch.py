"""Batches: half price, the same answers as single calls, and every fault of a provider."""

import asyncio
import gc
import json
import warnings
from contextlib import aclosing, closing, contextmanager

import pytest

from tasks.lib.batches import job as batch_job
from tasks.lib.batches.api import require_batches
from tasks.lib.batches.buyer import BatchBuyer
from tasks.lib.core.errors import LLMError, ParamError
from tasks.lib.gateway.gateway import Gateway
from tasks.lib.gateway.reply_limits import MAX_BODY
from tasks.lib.gateway.request import CallSettings
from tasks.lib.gateway.routes import load_chain, load_route
from tasks.lib.journal.journal import Journal
from tasks.llm_select.cascade import JudgeSettings
from tasks.llm_select.judge import Judge
from tasks.llm_select.verdicts import ignore
from tests.fake_provider import USD_IN, USD_OUT, Response, fails, honest, writes_letter
from tests.judge_desk import PROMPT, TOO_LONG, USELESS, on, questions, texts

N = 6
MAX_ATTEMPTS = 3


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Make a lost batch appear in the list at once."""
    monkeypatch.setattr(batch_job, "APPEAR_S", 0.0)


@contextmanager
def unclosed_clients():
    """Accept that LiteLLM leaves the connections of batch endpoints to the garbage collector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            yield
        finally:
            gc.collect()


class Batches:
    """Questions that are sent in batches, with one journal for the whole test."""

    def __init__(self, folder):
        self.journal = folder / "journal.sqlite"
        self.unanswered = set()
        self.spent_usd = 0.0

    def ask(self, deployment, asked, *fallbacks, votes=1, cap_usd=5.0, is_buying=True, **changes):
        """Return the verdicts after batches and single calls."""
        chain = {"mine": deployment} | {f"other{i}": route for i, route in enumerate(fallbacks)}
        routes = load_chain({"models": chain}, "mine", [*chain][1:])
        usual = {
            "max_attempts": MAX_ATTEMPTS,
            "timeout_s": 50.0,
            "concurrency": 4,
            "backoff_s": 0.01,
        }
        calls = CallSettings(seed=0, max_answer_tokens=64, **usual | changes)
        settings = JudgeSettings(PROMPT, False, votes, 500, calls, 3)

        verdicts = []

        def receive(judged):
            verdicts.append(judged and judged.verdict)

        async def talk(journal):
            async with aclosing(Gateway(routes, calls, journal)) as gateway:
                buyer = BatchBuyer(gateway, routes[0], calls, journal, is_buying=is_buying)
                await buyer.buy(
                    lambda source: Judge(source, routes, settings, texts)(asked, ignore)
                )
                self.unanswered = buyer.unanswered
                await Judge(gateway, routes, settings, texts)(asked, receive)

        with closing(Journal(self.journal, cap_usd=cap_usd)) as journal, unclosed_clients():
            try:
                asyncio.run(talk(journal))
            finally:
                self.spent_usd = journal.spent_usd
        return verdicts

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


def test_a_batch_costs_half_and_gives_the_same_verdicts_as_single_calls(  # noqa: PLR0917
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
    provider, second, batches, put, book
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


def test_a_batch_may_be_read_by_log_probabilities(provider, second, batches, put):
    provider.behave = second.behave = writes_letter(bias=(9.0, 0.0, 4.0))
    verdicts = batches.ask(provider.deployment(logprobs=True), questions(N, 3))
    assert provider.batches.sizes == [N - 1]
    assert rankings(verdicts) == rankings(put(second.deployment(logprobs=True), questions(N, 3)))


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


@pytest.mark.slow
def test_passing_failures_of_every_endpoint_are_retried(batches, provider, book):
    for request, response in ONCE:
        provider.batches.script(request, response)
    batches.ask(provider.deployment(), questions(N), max_attempts=4)
    assert provider.batches.is_script_done
    assert book() == ["answer"] * N
    assert max(provider.n_answers.values()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("response", [Response(reset_after=0), error(500), error(502)])
def test_a_batch_that_was_created_without_a_response_is_found_again(
    batches, provider, book, response
):
    provider.batches.script("POST /v1/batches", response, is_done=True)
    batches.ask(provider.deployment(), questions(N))
    assert provider.batches.sizes == [N - 1]
    assert max(provider.n_answers.values()) == 1
    assert book() == ["answer"] * N


@pytest.mark.slow
@pytest.mark.parametrize("status", ["expired", "cancelled"])
def test_questions_that_a_batch_leaves_unanswered_are_sent_one_by_one(
    batches, provider, book, status
):
    provider.batches.status, provider.batches.share = status, 0.4
    verdicts = batches.ask(provider.deployment(), questions(N))
    assert len(batches.unanswered) == 3
    assert all(verdict.ballots for verdict in verdicts)
    assert batches.left == []
    assert max(provider.n_answers.values()) == 1
    rows = book("outcome, usd")
    assert [row for row in rows if row[0] == "unfinished"] == [("unfinished", 0.0)] * 3
    assert [outcome for outcome, _ in rows].count("answer") == N


def spoiled(lines):
    """Return the lines twice and unordered, with garbage; one is missing and one unreadable."""
    *rest, bad, _ = lines
    no_body = json.loads(bad)
    no_body["response"]["body"] = "no"
    junk = [b'{"custom_id": "x"', b"[]", b'{"custom_id": "unknown", "response": null}']
    return [*junk, json.dumps(no_body).encode(), *rest[::-1], *rest]


def lying(lines):
    """Return lines with an impossible usage, an error with a success status, or too much data."""
    first, second, third, *rest = map(json.loads, lines)
    first["response"]["body"]["usage"]["prompt_tokens"] = -(10**9)
    second["response"]["status_code"] = "200"
    third["padding"] = "x" * MAX_BODY
    deep = json.dumps(rest[0]).encode()[:-1] + b', "x": ' + b"[" * 900 + b"]" * 900 + b"}"
    return [*(json.dumps(line).encode() for line in (first, second, third, *rest[1:])), deep]


@pytest.mark.slow
@pytest.mark.parametrize(("spoil", "n_lost"), [(spoiled, 2), (lambda lines: [], N - 1), (lying, 3)])
def test_faulty_lines_cost_at_most_their_own_requests(  # noqa: PLR0917
    batches, provider, second, put, book, spoil, n_lost
):
    provider.batches.spoil = spoil
    verdicts = batches.ask(provider.deployment(), questions(N))
    assert len(batches.unanswered) == n_lost
    rows = book("outcome, is_upper_bound")
    assert [row for row in rows if row[0] == "unfinished"] == [("unfinished", 1)] * n_lost
    assert batches.spent_usd >= price(provider.book[:1]) + price(provider.book[1:N]) / 2
    batches.journal.unlink()
    assert rankings(verdicts) == rankings(put(second.deployment(), questions(N)))


def test_a_file_that_is_gone_costs_its_requests(batches, provider, book):
    for _ in range(MAX_ATTEMPTS):
        provider.batches.script("GET /v1/files/", error(404))
    batches.ask(provider.deployment(), questions(N))
    assert book().count("unfinished") == N - 1
    assert book().count("answer") == N


@pytest.mark.slow
def test_errors_of_single_requests_lead_to_what_they_would_lead_to_in_single_calls(
    batches, provider, book
):
    failures = [fails(500)]

    def fails_once(call):
        return (failures.pop() if failures else honest)(call)

    provider.behave = on(3, TOO_LONG, on(9, USELESS, on(6, fails_once)))
    verdicts = batches.ask(provider.deployment(), questions(N))
    assert provider.batches.sizes == [N - 1]
    outcomes = book()
    assert outcomes.count("context_too_long") >= 1
    assert outcomes.count("no_list") == 2  # in the batch, and in a re-ask
    assert outcomes.count("server") == 1
    assert all(verdict.slots for verdict in verdicts)


def test_a_refused_batch_ends_the_run_at_no_cost_and_names_a_way_out(batches, provider, book):
    provider.batches.error = ("billing_hard_limit_reached", "Billing hard limit has been reached.")
    with pytest.raises(LLMError, match="Billing hard limit") as caught:
        batches.ask(provider.deployment(), questions(N))
    assert "llm_select.batch: false" in str(caught.value)
    assert batches.spent_usd == pytest.approx(price(provider.book))
    assert book() == ["answer", *["unfinished"] * (N - 1)]
    assert batches.left == []


@pytest.mark.slow
def test_a_batch_over_the_providers_limit_is_sent_in_smaller_ones(batches, provider, book):
    provider.batches.max_requests = 3
    batches.ask(provider.deployment(), questions(N))
    first, *others = provider.batches.sizes
    assert (first, sum(others)) == (N - 1, N - 1)
    assert book().count("answer") == N
    assert max(provider.n_answers.values()) == 1


def test_a_batch_of_an_earlier_run_that_is_over_the_limit_is_sent_in_smaller_ones(
    batches, provider, book
):
    provider.batches.max_requests = 3
    provider.batches.script("GET /v1/batches/", error(401))
    with pytest.raises(LLMError, match="does not accept the key"):
        batches.ask(provider.deployment(), questions(N))
    batches.ask(provider.deployment(), questions(N))
    assert book().count("answer") == N
    assert max(provider.n_answers.values()) == 1


def test_votes_take_two_rounds_and_buy_no_vote_that_single_calls_would_not(
    batches, provider, second, put, book
):
    asked = questions(4, n_ranked=2)
    verdicts = batches.ask(provider.deployment(), asked, votes=3)
    n_calls = len(provider.calls)
    batches.journal.unlink()
    assert rankings(verdicts) == rankings(put(second.deployment(), asked, votes=3))
    assert len(second.calls) == n_calls
    assert len(provider.batches.sizes) <= 2


@pytest.mark.slow
def test_a_cap_limits_what_is_sent_at_once_and_is_never_exceeded(batches, provider, caplog):
    batches.ask(provider.deployment(), questions(N), cap_usd=0.003)
    assert "llm_select.max_usd allows only" in caplog.text
    assert len(provider.batches.sizes) > 1
    assert price(provider.book[:1]) + price(provider.book[1:]) / 2 <= batches.spent_usd <= 0.003


def test_questions_to_the_fallback_route_are_sent_one_by_one(batches, provider, second):
    provider.behave = on(3, USELESS)
    verdicts = batches.ask(provider.deployment(), questions(N), second.deployment(model="openai/b"))
    assert all(verdict.ballots for verdict in verdicts)
    assert len(second.calls) == 1
    assert second.batches.requests == []


def test_a_wrong_key_is_noticed_before_a_batch_is_sent(batches, provider):
    provider.behave = fails(401, "Incorrect API key")
    with pytest.raises(LLMError, match="does not accept the key"):
        batches.ask(provider.deployment(), questions(N))
    assert provider.batches.requests == []


@pytest.mark.parametrize(
    "model", ["together_ai/x", "anthropic/x", "gemini/x", "openrouter/x/y", "offline/typical"]
)
def test_a_provider_without_batches_is_named_before_anything_is_paid(model):
    route = load_route({"models": {"mine": {"model": model, "schema": "never"}}}, "mine")
    with pytest.raises(ParamError, match=r"has no batches that SelectLLM can use") as caught:
        require_batches(route)
    assert "service_tier: flex" in str(caught.value)


@pytest.mark.slow
def test_an_unfinished_batch_is_continued_or_cancelled_by_the_next_run(batches, provider, book):
    for i, is_buying in enumerate((True, False), 1):
        provider.batches.script("GET /v1/batches/", error(401))
        asked = [q._replace(candidates=q.candidates + 300 * i) for q in questions(N)]
        with pytest.raises(LLMError, match="does not accept the key"):
            batches.ask(provider.deployment(), asked)
        assert book().count("open") == N - 1
        batches.ask(provider.deployment(), asked, is_buying=is_buying)
        assert book() == ["answer"] * N * i
        assert batches.left == []
    assert max(provider.n_answers.values()) == 1
    assert [r for r in provider.batches.requests if "cancel" in r] == [
        "POST /v1/batches/batch_2/cancel"
    ]


def test_a_batch_at_another_address_is_named(batches, provider, second):
    provider.batches.script("GET /v1/batches/", error(401))
    with pytest.raises(LLMError):
        batches.ask(provider.deployment(), questions(N))
    with pytest.raises(ParamError, match="unfinished batch of openai/fake") as caught:
        batches.ask(second.deployment(), questions(N))
    assert ".json to pay for them again" in str(caught.value)
    assert second.calls == []
