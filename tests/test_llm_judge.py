"""Questions, put to a real client and a server on this machine: what is paid for, and when not."""

import asyncio
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing

import numpy as np
import pytest

from tasks.core.errors import LLMError, ParamError
from tasks.llm.canaries import Kind, Planting, plant
from tasks.llm.endpoint import Habits
from tasks.llm.faults import FaultKind
from tasks.llm.journal.entries import LOST
from tasks.llm.journal.journal import Journal
from tasks.llm.judge import ModelJudge
from tasks.llm.panel import Terms
from tasks.llm.prompt import PROMPTS, read_prompt
from tasks.llm.rounds import Method, Question, SetAside
from tasks.llm.routes import load_chain
from tasks.llm.rubric import choose
from tests.conftest import PROJECT
from tests.fake_provider import (
    USD_IN,
    FakeProvider,
    fails,
    garbled,
    honest,
    late,
    picks,
    resets,
    says,
)

PROMPT = read_prompt(PROMPTS / "criteria.txt")
SIZE = 3
NOISE = "zzz"
TOO_LONG = fails(400, "This model's maximum context length is 4096 tokens")
FILTERED = fails(400, "blocked by the content policy")
USELESS = says("I cannot choose.")


def texts(candidates):
    """Of every three candidates one is noise, and the noise comes last in the alphabet."""
    return [
        NOISE if i % SIZE == 1 else f"Explain item {i} of the list, and give an example of it."
        for i in candidates
    ]


def questions(n, n_picks=1, size=SIZE):
    return [Question(1, i + 1, np.arange(i * size, (i + 1) * size), n_picks) for i in range(n)]


def chosen(question, verdict):
    return [int(question.candidates[slot - 1]) for slot in verdict.slots]


def on(item, then, otherwise=honest):
    """A behaviour that is another one where a candidate is shown."""

    def behave(call):
        sees = any(f"item {item} " in text for text in call.block.texts)
        return (then if sees else otherwise)(call)

    return behave


@pytest.fixture
def provider():
    with FakeProvider() as server:
        yield server


@pytest.fixture
def second():
    with FakeProvider() as server:
        yield server


@pytest.fixture
def my_key(monkeypatch):
    monkeypatch.setenv("MY_KEY", "key-0123456789")


@pytest.fixture
def put(tmp_path):
    """Put questions to a route; one journal for all that a test puts."""

    def put(
        deployment,
        asked,
        *fallbacks,
        concurrency=4,
        max_attempts=3,
        timeout_s=10.0,
        seed=0,
        votes=1,
        rationale=False,
        cap_usd=5.0,
        alias="mine",
    ):
        chain = {alias: deployment} | {f"other{i}": each for i, each in enumerate(fallbacks)}
        routes = load_chain({"models": chain}, alias, [*chain][1:])
        habits = Habits(seed, 64, max_attempts, timeout_s, concurrency, backoff_s=0.01)
        terms = Terms(PROMPT, rationale, votes, 500, habits)
        put.n_done = 0

        def advance():
            put.n_done += 1

        async def talk(journal):
            judge = ModelJudge(routes, terms, texts, journal, advance)
            try:
                return await judge(iter(asked))
            finally:
                await judge.close()

        with closing(Journal(tmp_path / "journal.sqlite", cap_usd=cap_usd)) as journal:
            try:
                return asyncio.run(talk(journal))
            finally:
                put.spent_usd = journal.spent_usd

    return put


@pytest.fixture
def book(tmp_path):
    """Rows of the journal's calls, in their order."""

    def book(columns="outcome"):
        with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as db:
            rows = db.execute(f"SELECT {columns} FROM calls ORDER BY id").fetchall()
        return [row[0] for row in rows] if "," not in columns else rows

    return book


def test_each_question_gets_the_model_s_picks_in_its_place(provider, put):
    verdicts = put(provider.deployment(), questions(9))
    assert len(verdicts) == len(provider.calls) == put.n_done == 9
    for question, verdict in zip(questions(9), verdicts, strict=True):
        shown = texts(question.candidates)
        assert shown[verdict.slots[0] - 1] == min(shown)
        assert verdict.methods == (Method.LLM,)


def test_what_was_answered_once_is_not_asked_again(provider, put):
    first = put(provider.deployment(), questions(6))
    again = put(provider.deployment(), questions(8))
    assert again[:6] == first
    assert len(provider.calls) == 8
    moved = provider.deployment(api_base="http://127.0.0.1:9/v1")
    assert put(moved, questions(8)) == again  # another address changes no answer


@pytest.mark.parametrize(
    "change",
    [{"model": "openai/other"}, {"temperature": 0.5}, {"schema": "always"}],
    ids=["model", "temperature", "schema"],
)
def test_what_changes_an_answer_asks_anew(provider, put, change):
    put(provider.deployment(), questions(2))
    put(provider.deployment(**change), questions(2))
    assert len(provider.calls) == 4


def test_another_seed_number_of_picks_or_rationale_asks_anew(provider, put):
    put(provider.deployment(), questions(1))
    put(provider.deployment(), questions(1), seed=1)
    put(provider.deployment(), questions(1, n_picks=2))
    put(provider.deployment(), questions(1), rationale=True)
    assert len(provider.calls) == 4


def test_an_alias_by_another_name_asks_nothing_anew_and_is_told_as_now(provider, put):
    put(provider.deployment(), questions(2))
    verdicts = put(provider.deployment(), questions(2), alias="renamed")
    assert len(provider.calls) == 2
    assert {bought.route for verdict in verdicts for bought in verdict.bought} == {"renamed"}


def test_two_questions_that_are_one_are_bought_once(provider, put):
    same = questions(1) * 5
    verdicts = put(provider.deployment(), same)
    assert len(provider.calls) == 1
    assert verdicts == [verdicts[0]] * 5


def test_the_bill_is_usage_times_the_stated_price(provider, put):
    priced = provider.deployment(input_cost_per_token=2e-6, output_cost_per_token=1e-5)
    (verdict,) = put(priced, questions(1))
    (bought,) = verdict.bought
    n_in, n_out = provider.tokens
    assert (bought.prompt_tokens, bought.completion_tokens) == (n_in, n_out)
    assert bought.usd == pytest.approx(n_in * 2e-6 + n_out * 1e-5)
    assert put.spent_usd == pytest.approx(bought.usd)
    assert not bought.is_bound


def test_usage_that_nobody_told_is_settled_at_what_the_call_could_cost_at_most(provider, put, book):
    provider.behave = says('{"picks": [1]}', usage=False)
    (verdict,) = put(provider.deployment(), questions(1))
    (bought,) = verdict.bought
    assert bought.is_bound
    assert bought.completion_tokens == 64
    n_bytes = sum(len(message["content"].encode()) for message in provider.calls[0].messages)
    assert bought.prompt_tokens >= n_bytes
    assert book("outcome, is_bound") == [("answer", 1)]
    assert put.spent_usd == pytest.approx(bought.usd)


def test_a_route_without_a_price_is_refused_before_any_call(provider, put):
    unpriced = provider.deployment()
    del unpriced["input_cost_per_token"], unpriced["output_cost_per_token"]
    with pytest.raises(ParamError, match=r"models\.mine .*nobody has said what this model costs"):
        put(unpriced, questions(2))
    assert not provider.calls


@pytest.mark.parametrize(
    ("behave", "kind"),
    [
        (fails(429, retry_after=0), FaultKind.RATE_LIMIT),
        (fails(500), FaultKind.SERVER),
        (fails(503), FaultKind.SERVER),
        (resets(), FaultKind.CONNECTION),
        (garbled(b"<html>"), FaultKind.MALFORMED),
        (says("The third one."), "no_list"),
        (picks(4), "out_of_range"),
        (picks(), "too_few"),
        (says(None), "empty"),
    ],
)
def test_what_may_pass_is_tried_again_and_booked(provider, put, book, behave, kind):
    provider.script(honest, behave)
    verdicts = put(provider.deployment(), questions(3))
    assert [verdict.methods for verdict in verdicts] == [(Method.LLM,)] * 3
    assert Counter(book()) == {"answer": 3, kind: 1}
    assert len(provider.calls) == 4


def test_a_late_reply_is_tried_again_and_counts_as_spent_in_full(provider, put, book):
    provider.script(honest, late(5))
    put(provider.deployment(), questions(2), timeout_s=0.5)
    rows = {outcome: (usd, bound) for outcome, usd, bound in book("outcome, usd, is_bound")}
    assert len(provider.calls) == len(book()) == 3
    usd, is_bound = rows[FaultKind.TIMEOUT]
    assert is_bound
    assert usd > rows["answer"][0]
    assert put.spent_usd == pytest.approx(sum(book("usd")))


def test_a_call_that_was_refused_costs_nothing(provider, put, book):
    provider.script(fails(500), fails(429, retry_after=0))
    put(provider.deployment(), questions(1))
    assert book("usd")[:2] == [0.0, 0.0]
    assert put.spent_usd == pytest.approx(provider.usd)


def test_retry_after_is_waited_for(provider, put):
    provider.script(fails(429, retry_after=0.6))
    put(provider.deployment(), questions(1))
    first, second = provider.calls
    assert second.arrived_s - first.arrived_s >= 0.6


def test_a_longer_wait_than_is_sensible_ends_the_run(provider, put):
    provider.script(fails(429, retry_after=3600))
    with pytest.raises(LLMError, match="calls come too fast"):
        put(provider.deployment(), questions(3))
    assert len(provider.calls) == 1


FATAL_ONES = pytest.mark.parametrize(
    ("behave", "says_what"),
    [
        (fails(401, "Incorrect API key provided: key-0123456789."), "does not accept the key"),
        (fails(403, "No access to this model"), "may not use this model: No access"),
        (fails(429, "You exceeded it", code="insufficient_quota"), "credit is used up"),
        (fails(404, "The model fake does not exist"), "refuses the request: The model fake"),
        (fails(400, "messages is malformed"), "refuses the request: messages is malformed"),
    ],
)


@FATAL_ONES
@pytest.mark.usefixtures("my_key")
def test_what_no_retry_cures_ends_the_run_after_one_call_and_asks_no_other_route(
    provider, second, put, behave, says_what
):
    provider.behave = behave
    mine = provider.deployment(api_key="os.environ/MY_KEY")
    with pytest.raises(LLMError, match=says_what) as caught:
        put(mine, questions(200), second.deployment(model="openai/b"), concurrency=64)
    assert len(provider.calls) == 1
    assert not second.calls
    message = str(caught.value)
    assert "models.mine (openai/fake) at http://127.0.0.1" in message
    assert "journal.sqlite" in message
    assert "0123456789" not in message
    assert ("MY_KEY" in message) == ("does not accept" in says_what)


@pytest.mark.usefixtures("my_key")
def test_a_key_is_in_no_row_of_the_journal(provider, put, tmp_path):
    provider.script(
        fails(500, "with key-0123456789 it fails"), says("Your key is key-0123456789."), picks(1)
    )
    put(provider.deployment(api_key="os.environ/MY_KEY"), questions(1))
    assert len(provider.calls) == 3
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert b"it fails" in written
    assert b"0123456789" not in written


BROKEN = pytest.mark.parametrize(
    ("behave", "says_what"),
    [
        (fails(500), "goes on failing"),
        (resets(), "cannot be reached"),
        (garbled(b"<html>Log in</html>"), "no chat completion"),
        (fails(429, retry_after=0), "calls come too fast"),
    ],
)


@BROKEN
def test_an_endpoint_that_never_answers_ends_the_run_after_a_few_calls(
    provider, put, behave, says_what
):
    provider.behave = behave
    with pytest.raises(LLMError, match=says_what):
        put(provider.deployment(), questions(200), concurrency=32)
    assert len(provider.calls) == 3  # max_attempts, not times concurrency


@BROKEN
def test_an_endpoint_that_breaks_ends_the_run_and_keeps_what_was_answered(
    provider, put, behave, says_what
):
    provider.script(*[honest] * 5)
    provider.behave = behave
    with pytest.raises(LLMError, match=says_what):
        put(provider.deployment(), questions(40), concurrency=1)
    n_failed = len(provider.calls) - 5
    assert 3 <= n_failed <= 2 * 3  # as many questions as are under way, max_attempts each
    provider.behave = honest
    verdicts = put(provider.deployment(), questions(40))
    assert {verdict.methods for verdict in verdicts} == {(Method.LLM,)}
    assert len(provider.calls) == 5 + n_failed + 35


def test_an_endpoint_that_is_not_there_is_named_within_seconds(put, book):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        gone = {"model": "openai/x", "schema": "never", "api_base": base, "api_key": "none"}
        prices = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}
        began = time.monotonic()
        with pytest.raises(LLMError, match="cannot be reached") as caught:
            put(gone | prices, questions(50), concurrency=16)
    assert time.monotonic() - began < 5
    assert base in str(caught.value)
    assert book() == [FaultKind.CONNECTION] * 3
    assert put.spent_usd == 0  # nobody was reached


def test_calls_under_way_are_let_end_when_the_run_stops(provider, put):
    """One call meets an exhausted quota while others are being answered: those are kept."""
    provider.behave = on(18, fails(402, "Insufficient credits"), late(0.4))
    with pytest.raises(LLMError, match="credit is used up"):
        put(provider.deployment(), questions(40), concurrency=8)
    n_answered = len(provider.calls) - 1
    assert n_answered < 20
    assert put.n_done == n_answered
    provider.behave = honest
    put(provider.deployment(), questions(40))
    assert len(provider.calls) == 1 + 40


def test_a_useless_reply_is_quoted_once_with_what_is_wrong_and_then_the_rubric_picks(
    provider, put, book
):
    provider.behave = says("Slots [1], [9]")
    (verdict,) = put(provider.deployment(), questions(1, n_picks=2))
    first, second = provider.calls
    assert second.messages[: len(first.messages)] == first.messages
    said, asked = second.messages[len(first.messages) :]
    assert (said["role"], said["content"]) == ("assistant", "Slots [1], [9]")
    assert "a slot is not among 1 to 3" in asked["content"]
    assert verdict.methods == (Method.FALLBACK,) * 2
    assert verdict.slots == tuple(choose(texts(range(SIZE)), 2))
    assert not verdict.bought
    assert book() == ["out_of_range"] * 2


def test_a_model_that_is_told_what_was_wrong_may_still_answer(provider, put):
    provider.behave = lambda call: (honest if call.is_reask else USELESS)(call)
    verdicts = put(provider.deployment(), questions(3))
    assert {verdict.methods for verdict in verdicts} == {(Method.LLM,)}
    assert len(provider.calls) == 6
    assert verdicts == put(provider.deployment(), questions(3))
    assert len(provider.calls) == 6


def test_a_useless_reply_is_followed_by_the_next_route(provider, second, put, book):
    provider.behave = USELESS
    (verdict,) = put(provider.deployment(), questions(1), second.deployment(model="openai/b"))
    assert verdict.methods == (Method.LLM,)
    assert [bought.route for bought in verdict.bought] == ["other0"]
    assert (len(provider.calls), len(second.calls)) == (2, 1)
    assert not second.calls[0].is_reask
    assert book("route, outcome") == [
        ("mine", "no_list"),
        ("mine", "no_list"),
        ("other0", "answer"),
    ]


def test_at_most_two_useless_replies_are_ever_bought_for_a_question(provider, put):
    provider.script(USELESS, fails(401))
    provider.behave = USELESS
    with pytest.raises(LLMError):
        put(provider.deployment(), questions(1))
    for _ in range(3):
        (verdict,) = put(provider.deployment(), questions(1), max_attempts=9)
        assert verdict.methods == (Method.FALLBACK,)
    assert len(provider.calls) == 3  # the refused one was no reply


@pytest.mark.parametrize(
    "text",
    ["\ud800 is half a character", "nothing\0 at all", "甲" * 60_000, '{"picks": [1' + "0" * 5000],
    ids=["half a character", "zero byte", "huge", "long number"],
)
def test_no_reply_is_too_odd_to_be_booked_and_quoted(provider, put, book, text):
    provider.script(says(text))
    (verdict,) = put(provider.deployment(), questions(1))
    assert verdict.methods == (Method.LLM,)
    assert len(book()) == len(provider.calls) == 2


def test_an_answer_with_odd_signs_around_it_is_kept(provider, put):
    provider.script(says('\ud83d\0 {"picks": [2]} \udead'))
    (verdict,) = put(provider.deployment(), questions(1))
    assert verdict.slots == (2,)
    assert put(provider.deployment(), questions(1)) == [verdict]


def test_the_rubric_in_a_model_s_place_does_not_go_by_slots(provider, put):
    provider.behave = USELESS
    asked = [
        Question(1, 1, np.array([1, 0, 2]), 2),
        Question(1, 2, np.array([0, 1, 2]), 2),
        Question(1, 3, np.array([2, 0, 1]), 2),
    ]
    for question, verdict in zip(asked, put(provider.deployment(), asked), strict=True):
        assert NOISE not in texts(chosen(question, verdict))


@pytest.mark.parametrize(
    "behave",
    [fails(500), fails(503), resets(), late(5), garbled(b"<html>")],
    ids=["500", "503", "reset", "late", "garbled"],
)
def test_another_route_stands_in_where_one_is_down(provider, second, put, behave):
    provider.behave = behave
    other = second.deployment(model="openai/b")
    verdicts = put(
        provider.deployment(), questions(20), other, concurrency=8, max_attempts=2, timeout_s=1.0
    )
    assert {verdict.methods for verdict in verdicts} == {(Method.LLM,)}
    assert {bought.route for v in verdicts for bought in v.bought} == {"other0"}
    assert len(second.calls) == 20
    assert 1 <= len(provider.calls) <= 2  # max_attempts; then it is left alone


def test_where_all_routes_are_down_the_last_one_is_named(provider, second, put):
    provider.behave = second.behave = fails(503)
    with pytest.raises(LLMError, match=r"models\.other0"):
        put(provider.deployment(), questions(9), second.deployment(model="openai/b"))


def test_answers_of_a_route_that_stood_in_are_used_again(provider, second, put):
    provider.behave = fails(503)
    other = second.deployment(model="openai/b")
    first = put(provider.deployment(), questions(4), other)
    provider.behave = honest
    assert put(provider.deployment(), questions(4), other) == first
    assert len(second.calls) == 4


def test_what_is_too_long_together_is_asked_about_in_halves(provider, put):
    provider.behave = lambda call: (TOO_LONG if len(call.block.texts) > 2 else honest)(call)
    (question,) = questions(1, size=6)
    (verdict,) = put(provider.deployment(), [question])
    assert verdict.methods == (Method.LLM,)
    assert texts(chosen(question, verdict)) == [min(texts(range(6)))]
    assert not verdict.aside
    assert not verdict.votes[0].is_whole  # the audit of slots leaves it out
    n_calls = len(provider.calls)
    assert put(provider.deployment(), [question]) == [verdict]
    assert len(provider.calls) == n_calls


def test_halves_give_as_many_picks_as_were_asked_for(provider, put):
    provider.behave = lambda call: (TOO_LONG if len(call.block.texts) > 3 else honest)(call)
    asked = questions(2, n_picks=5, size=6)
    for question, verdict in zip(asked, put(provider.deployment(), asked), strict=True):
        assert len(set(chosen(question, verdict))) == 5
        assert verdict.methods == (Method.LLM,) * 5


@pytest.mark.parametrize(
    "behave", [FILTERED, says(None, finish_reason="content_filter")], ids=["400", "200"]
)
@pytest.mark.parametrize("n_picks", [1, 3])
def test_who_a_filter_blocks_is_found_and_set_aside_and_the_number_of_picks_is_kept(
    provider, put, behave, n_picks
):
    provider.behave = on(3, behave)
    (question,) = questions(1, n_picks=n_picks, size=6)
    (verdict,) = put(provider.deployment(), [question])
    assert verdict.aside == (SetAside(4, "content_filter"),)
    assert 3 not in chosen(question, verdict)
    assert len(set(verdict.slots)) == n_picks
    assert verdict.methods == (Method.LLM,) * n_picks
    n_calls = len(provider.calls)
    assert put(provider.deployment(), [question]) == [verdict]
    assert len(provider.calls) == n_calls


def test_where_all_are_blocked_the_rubric_picks_and_all_are_set_aside(provider, put):
    provider.behave = FILTERED
    (verdict,) = put(provider.deployment(), questions(1, n_picks=2))
    assert [each.slot for each in verdict.aside] == [1, 2, 3]
    assert verdict.methods == (Method.FALLBACK,) * 2


def test_one_whom_all_but_the_rubric_refuse_is_picked_last(provider, put):
    provider.behave = on(0, FILTERED)
    (verdict,) = put(provider.deployment(), questions(1, n_picks=3))
    assert verdict.slots[-1] == 1
    assert verdict.methods == (Method.LLM, Method.LLM, Method.FALLBACK)


def test_a_refused_schema_costs_a_question_no_attempt(provider, put):
    provider.script(fails(400, "Unsupported parameter: response_format"))
    deployment = provider.deployment(schema="auto", model="openai/gpt-4o-mini")
    verdicts = put(deployment, questions(4), max_attempts=1)
    assert [verdict.methods for verdict in verdicts] == [(Method.LLM,)] * 4
    assert len(provider.calls) == 5
    assert {bought.left_out for v in verdicts for bought in v.bought} == {("response_format",)}


def test_the_first_call_goes_alone_and_the_rest_stay_within_bounds(provider, put):
    provider.behave = late(0.05)
    put(provider.deployment(), questions(30), concurrency=5)
    first, second = provider.calls[:2]
    assert second.arrived_s - first.arrived_s >= 0.05
    assert provider.peak == 5


def test_several_deployments_share_the_calls(provider, second, put):
    provider.behave = second.behave = late(0.02)
    both = [provider.deployment(), second.deployment()]
    put(both, questions(40), concurrency=4)
    assert len(provider.calls) + len(second.calls) == 40
    assert 12 <= len(provider.calls) <= 28


def test_a_deployment_that_has_to_rest_is_left_alone_meanwhile(provider, second, put):
    provider.script(fails(429, retry_after=30), fails(429))
    began = time.monotonic()
    put([provider.deployment(), second.deployment()], questions(20), concurrency=2)
    assert time.monotonic() - began < 10
    assert len(provider.calls) <= 2
    assert len(second.calls) == 20


def test_a_deployment_s_pace_is_kept_and_costs_no_call(provider, put):
    put(provider.deployment(rpm=1000, tpm=10**6), questions(10))
    assert len(provider.calls) == 10


def test_the_rubric_as_a_route_is_told_as_such(put):
    verdicts = put({"model": "offline/rubric", "schema": "never"}, questions(3, n_picks=2))
    assert {verdict.methods for verdict in verdicts} == {(Method.RUBRIC,) * 2}
    assert {bought.usd for verdict in verdicts for bought in verdict.bought} == {0.0}
    assert verdicts[0].slots == tuple(choose(texts(range(SIZE)), 2))


def test_votes_are_asked_in_other_orders_and_name_the_same_candidates(provider, put):
    (question,) = questions(1, size=6)
    (verdict,) = put(provider.deployment(), [question], votes=5)
    orders = [tuple(call.block.texts) for call in provider.calls]
    assert len(set(orders)) == len(orders)
    assert len({tuple(sorted(order)) for order in orders}) == 1
    assert {call.block.n_picks for call in provider.calls} == {3}  # two ranks more than picks
    assert len({vote.ballot for vote in verdict.votes}) == 1
    assert len({vote.shown for vote in verdict.votes}) == len(verdict.votes)
    assert texts(chosen(question, verdict)) == [min(texts(range(6)))]


def test_votes_that_agree_end_early_and_those_that_do_not_are_all_asked(provider, put):
    put(provider.deployment(), questions(1, size=6), votes=3)
    assert len(provider.calls) == 2
    provider.behave = picks(1, 2, 3)  # goes by slots
    (verdict,) = put(provider.deployment(model="openai/b"), questions(1, size=6), votes=3)
    assert len(provider.calls) == 2 + 3
    assert len(verdict.votes) == len(verdict.bought) == 3


def test_more_votes_buy_only_those_that_are_new(provider, put):
    provider.behave = picks(1, 2, 3)
    put(provider.deployment(), questions(2, size=6), votes=2)
    assert len(provider.calls) == 4
    put(provider.deployment(), questions(2, size=6), votes=2)
    assert len(provider.calls) == 4


def test_a_vote_that_brings_nothing_leaves_the_others_to_decide(provider, put):
    def behave(call):
        first_shown = "item 0 " in call.block.texts[0]
        return (USELESS if first_shown else honest)(call)

    provider.behave = behave
    (question,) = questions(1, size=6)
    (verdict,) = put(provider.deployment(), [question], votes=3)
    assert len(verdict.votes) == 2
    assert verdict.methods == (Method.LLM,)
    assert texts(chosen(question, verdict)) == [min(texts(range(6)))]


def test_a_rationale_stands_beside_each_pick(provider, put):
    provider.behave = says(
        json.dumps({"picks": [3, 1], "reasons": ["It is rare.", "It is clear."]})
    )
    (verdict,) = put(provider.deployment(), questions(1, n_picks=2), rationale=True)
    assert verdict.slots == (3, 1)
    assert verdict.reasons == ("It is rare.", "It is clear.")
    assert '"reasons"' in provider.calls[0].messages[-1]["content"]


def test_an_answer_without_the_rationale_is_an_answer(provider, put):
    (verdict,) = put(provider.deployment(), questions(1), rationale=True)
    assert verdict.reasons == (None,)
    assert len(provider.calls) == 1


def test_a_canary_is_shown_in_a_candidate_s_place(provider, put):
    planting = Planting(0, Kind.INJECTION, seed=5)
    (plain,) = questions(1)
    (verdict,) = put(provider.deployment(), [plain._replace(canary=planting)], votes=3)
    planted, slot = plant(texts(range(SIZE)), planting.kind, planting.seed)
    assert verdict.canary_slot == slot
    assert [call.block.texts for call in provider.calls] == [planted]  # one vote will do


@pytest.mark.parametrize("concurrency", [1, 8, 64])
def test_the_cap_is_not_passed_and_the_run_ends_in_good_order(provider, put, concurrency):
    provider.behave = late(0.01)
    cap_usd = 0.02
    verdicts = put(provider.deployment(), questions(100), concurrency=concurrency, cap_usd=cap_usd)
    n_answered = sum(verdict is not None for verdict in verdicts)
    assert n_answered == put.n_done == len(provider.calls) < 100
    assert provider.usd == pytest.approx(put.spent_usd)
    assert put.spent_usd <= cap_usd
    n_bytes = max(len(str(call.messages).encode()) for call in provider.calls)
    assert put.spent_usd > cap_usd - 3 * n_bytes * USD_IN  # it does not stop long before either
    whole = put(provider.deployment(), questions(100), cap_usd=1.0)
    assert len(provider.calls) == 100
    for before, after in zip(verdicts, whole, strict=False):
        assert before in (None, after)


def test_a_cap_of_nothing_buys_nothing(provider, put):
    verdicts = put(provider.deployment(), questions(9), cap_usd=0.0)
    assert set(verdicts) == {None}
    assert not provider.calls


def test_what_is_free_needs_no_room_under_the_cap(provider, put):
    free = provider.deployment(input_cost_per_token=0.0, output_cost_per_token=0.0)
    assert None not in put(free, questions(3), cap_usd=0.0)


def test_useless_and_late_replies_count_for_the_cap(provider, put):
    provider.behave = USELESS
    verdicts = put(provider.deployment(), questions(100), cap_usd=0.02)
    assert sum(verdict is not None for verdict in verdicts) < 100
    assert provider.usd == pytest.approx(put.spent_usd)
    assert put.spent_usd <= 0.02


def test_a_call_that_was_interrupted_is_booked_in_full_and_asked_again(provider, put, book):
    provider.script(late(60))

    async def interrupt(run):
        while not provider.calls:
            await asyncio.sleep(0.01)
        run.cancel()  # as Ctrl-C does

    def asked():
        yield from questions(1)
        tasks.append(asyncio.ensure_future(interrupt(asyncio.current_task())))

    tasks = []
    with pytest.raises(asyncio.CancelledError):
        put(provider.deployment(), asked())
    lost_usd = put.spent_usd
    assert lost_usd > 0
    (verdict,) = put(provider.deployment(), questions(1))
    assert verdict.methods == (Method.LLM,)
    assert book() == [LOST, "answer"]
    assert put.spent_usd == pytest.approx(lost_usd + provider.usd)


@pytest.mark.slow
def test_two_runs_at_once_buy_each_answer_once_and_pay_once(provider, put, tmp_path, book):
    provider.behave = late(0.05)
    script = tmp_path / "beside.py"
    script.write_text(BESIDE)
    beside = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "journal.sqlite"), provider.api_base],
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with beside:
        while not provider.calls and beside.poll() is None:
            time.sleep(0.01)
        mine = put(provider.deployment(), questions(25), concurrency=4)
        theirs = json.loads(beside.communicate(timeout=30)[0])
    assert [list(verdict.slots) for verdict in mine] == theirs
    assert len(provider.calls) == 25
    assert Counter(book()) == {"answer": 25}


BESIDE = """
import asyncio, json, sys
from contextlib import closing
from pathlib import Path
from tasks.llm.journal.journal import Journal
from tasks.llm.judge import ModelJudge
from tasks.llm.panel import Terms
from tasks.llm.routes import load_chain
from tests.test_llm_judge import PROMPT, Habits, questions, texts

path, api_base = sys.argv[1:]
deployment = {
    "model": "openai/fake", "schema": "never", "api_base": api_base, "api_key": "none",
    "input_cost_per_token": 1e-6, "output_cost_per_token": 4e-6,
}
routes = load_chain({"models": {"mine": deployment}}, "mine", [])
terms = Terms(PROMPT, False, 1, 500, Habits(0, 64, 3, 10.0, 4, backoff_s=0.01))

async def talk(journal):
    judge = ModelJudge(routes, terms, texts, journal, lambda: None)
    try:
        return await judge(questions(25))
    finally:
        await judge.close()

with closing(Journal(Path(path), cap_usd=5.0)) as journal:
    verdicts = asyncio.run(talk(journal))
print(json.dumps([list(verdict.slots) for verdict in verdicts]))
"""
