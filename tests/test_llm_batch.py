"""Batches cost half as much, and give the same answers as single calls."""

import json

import pytest

from tasks.lib.batches.api import require_batches
from tasks.lib.core.errors import LLMError, ParamError
from tasks.lib.gateway.routes import load_route
from tests.batch_desk import N, error, price, rankings
from tests.behaviours import writes_letter
from tests.judge_desk import USELESS, on, questions


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_batch_may_be_read_by_log_probabilities(provider, second, batches, put):
    provider.behave = second.behave = writes_letter(bias=(9.0, 0.0, 4.0))
    verdicts = batches.ask(provider.deployment(logprobs=True), questions(N, 3))
    assert provider.batches.sizes == [N - 1]
    assert rankings(verdicts) == rankings(put(second.deployment(logprobs=True), questions(N, 3)))


@pytest.mark.slow
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


@pytest.mark.slow
def test_questions_to_the_fallback_route_are_sent_one_by_one(batches, provider, second):
    provider.behave = on(3, USELESS)
    verdicts = batches.ask(provider.deployment(), questions(N), second.deployment(model="openai/b"))
    assert all(verdict.ballots for verdict in verdicts)
    assert len(second.calls) == 1
    assert second.batches.requests == []


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


@pytest.mark.slow
def test_a_batch_at_another_address_is_named(batches, provider, second):
    provider.batches.script("GET /v1/batches/", error(401))
    with pytest.raises(LLMError):
        batches.ask(provider.deployment(), questions(N))
    with pytest.raises(ParamError, match="unfinished batch of openai/fake") as caught:
        batches.ask(second.deployment(), questions(N))
    assert ".json to pay for them again" in str(caught.value)
    assert second.calls == []
