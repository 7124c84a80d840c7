"""Questions, put to a real client and a server on this machine: what is paid for, and when not."""

import asyncio
from contextlib import closing

import numpy as np
import pytest

from tasks.core.errors import LLMError, ParamError
from tasks.llm.ask import Crowd
from tasks.llm.faults import FaultKind
from tasks.llm.journal import Journal
from tasks.llm.judge import ModelJudge, Terms
from tasks.llm.prompt import read_prompt
from tasks.llm.rounds import Method, Question
from tasks.llm.routes import load_route
from tasks.llm.rubric import choose
from tests.conftest import PROJECT
from tests.fake_provider import (
    FakeProvider,
    fails,
    garbled,
    honest,
    late,
    picks,
    resets,
    says,
)

PROMPT = read_prompt(PROJECT / "tasks/llm/select.txt")
SIZE = 3
NOISE = "zzz"


def texts(candidates):
    """Of every three candidates one is noise, and the noise comes last in the alphabet."""
    return [
        NOISE if i % SIZE == 1 else f"Explain item {i} of the list, and give an example of it."
        for i in candidates
    ]


def questions(n, n_picks=1):
    return [Question(1, i + 1, np.arange(i * SIZE, (i + 1) * SIZE), n_picks) for i in range(n)]


@pytest.fixture
def provider():
    with FakeProvider() as server:
        yield server


@pytest.fixture
def put(tmp_path):
    """Put questions to a route; one journal for all that a test puts."""

    def put(deployment, asked, *, concurrency=4, max_attempts=3, timeout_s=10.0, seed=0):
        route = load_route({"models": {"mine": deployment}}, "mine")
        terms = Terms(PROMPT, seed, 500, 64, max_attempts, timeout_s, concurrency, backoff_s=0.01)
        put.n_done = 0

        def advance():
            put.n_done += 1

        async def talk(journal):
            judge = ModelJudge(route, terms, texts, journal, advance)
            try:
                return await judge(iter(asked))
            finally:
                await judge.close()

        with closing(Journal(tmp_path / "journal.sqlite")) as journal:
            return asyncio.run(talk(journal))

    return put


@pytest.fixture
def booked(tmp_path):
    """How often the journal booked each kind of failed call."""

    def booked(*kinds):
        with closing(Journal(tmp_path / "journal.sqlite")) as journal:
            return journal._db.execute(
                f"SELECT count(*) FROM attempts WHERE kind IN ({', '.join('?' * len(kinds))})",
                kinds,
            ).fetchone()[0]

    return booked


def test_each_question_gets_the_model_s_picks_in_its_place(provider, put):
    verdicts = put(provider.deployment(), questions(9))
    assert len(verdicts) == len(provider.calls) == put.n_done == 9
    for question, verdict in zip(questions(9), verdicts, strict=True):
        shown = texts(question.candidates)
        assert shown[verdict.slots[0] - 1] == min(shown)
        assert verdict.method is Method.LLM


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


def test_another_seed_or_number_of_picks_asks_anew(provider, put):
    put(provider.deployment(), questions(1))
    put(provider.deployment(), questions(1), seed=1)
    put(provider.deployment(), questions(1, n_picks=2))
    assert len(provider.calls) == 3


def test_the_bill_is_usage_times_the_stated_price(provider, put):
    priced = provider.deployment(input_cost_per_token=2e-6, output_cost_per_token=1e-5)
    (verdict,) = put(priced, questions(1))
    n_in, n_out = provider.tokens
    assert (verdict.prompt_tokens, verdict.completion_tokens) == (n_in, n_out)
    assert verdict.usd == pytest.approx(n_in * 2e-6 + n_out * 1e-5)


def test_an_unknown_price_is_unknown_until_it_is_stated(provider, put):
    assert put(provider.deployment(), questions(1))[0].usd is None
    priced = provider.deployment(input_cost_per_token=2e-6, output_cost_per_token=0)
    (verdict,) = put(priced, questions(1))
    assert verdict.usd == pytest.approx(provider.tokens[0] * 2e-6)
    assert len(provider.calls) == 1


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
def test_what_may_pass_is_tried_again_and_booked(provider, put, booked, behave, kind):
    provider.script(honest, behave)
    verdicts = put(provider.deployment(), questions(3))
    assert [verdict.method for verdict in verdicts] == [Method.LLM] * 3
    assert len(provider.calls) == 4
    assert booked(kind) == 1


def test_a_late_reply_is_tried_again(provider, put, booked):
    provider.script(honest, late(5))
    put(provider.deployment(), questions(2), timeout_s=0.5)
    assert booked(FaultKind.TIMEOUT) == 1
    assert len(provider.calls) == 3


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


@pytest.mark.parametrize(
    ("behave", "says_what"),
    [
        (fails(401, "Incorrect API key provided: key-0123456789."), "does not accept the key"),
        (fails(403, "No access to this model"), "may not use this model: No access"),
        (fails(429, "You exceeded it", code="insufficient_quota"), "credit is used up"),
        (fails(404, "The model fake does not exist"), "refuses the request: The model fake"),
        (fails(400, "messages is malformed"), "refuses the request: messages is malformed"),
    ],
)
def test_what_no_retry_cures_ends_the_run_after_one_call(
    provider, put, monkeypatch, behave, says_what
):
    monkeypatch.setenv("MY_KEY", "key-0123456789")
    provider.behave = behave
    with pytest.raises(LLMError, match=says_what) as caught:
        put(provider.deployment(api_key="os.environ/MY_KEY"), questions(20), concurrency=16)
    assert len(provider.calls) == 1
    message = str(caught.value)
    assert "models.mine (openai/fake) at http://127.0.0.1" in message
    assert "journal.sqlite" in message
    assert "0123456789" not in message
    assert ("MY_KEY" in message) == ("does not accept" in says_what)


@pytest.mark.parametrize(
    ("behave", "says_what"),
    [
        (fails(500), "goes on failing"),
        (resets(), "cannot be reached"),
        (garbled(b"<html>Log in</html>"), "no chat completion"),
        (fails(429, retry_after=0), "calls come too fast"),
    ],
)
def test_a_broken_endpoint_ends_the_run_and_keeps_what_was_answered(
    provider, put, behave, says_what
):
    provider.script(*[honest] * 5)
    provider.behave = behave
    with pytest.raises(LLMError, match=says_what):
        put(provider.deployment(), questions(40), concurrency=1)
    assert len(provider.calls) == 5 + 3
    provider.behave = honest
    verdicts = put(provider.deployment(), questions(40))
    assert {verdict.method for verdict in verdicts} == {Method.LLM}
    assert len(provider.calls) == 5 + 3 + 35


def test_calls_under_way_are_let_end_when_the_run_stops(provider, put):
    """One call meets an exhausted quota while others are being answered: those are kept."""

    def behave(call):
        if len(call.block.texts[0]) and "item 18 " in call.block.texts[0]:
            return fails(402, "Insufficient credits")(call)
        return late(0.4)(call)

    provider.behave = behave
    with pytest.raises(LLMError, match="credit is used up"):
        put(provider.deployment(), questions(40), concurrency=8)
    n_answered = len(provider.calls) - 1
    assert n_answered < 20
    assert put.n_done == n_answered
    provider.behave = honest
    put(provider.deployment(), questions(40))
    assert len(provider.calls) == 1 + 40


def test_a_model_that_never_answers_right_gives_way_to_the_rubric(provider, put):
    provider.behave = says("I cannot choose.")
    (verdict,) = put(provider.deployment(), questions(1))
    assert verdict.method is Method.FALLBACK
    assert verdict.slots == tuple(choose(texts(range(SIZE)), 1))
    assert (verdict.prompt_tokens, verdict.usd) == (0, 0.0)
    assert len(provider.calls) == 3


def test_the_rubric_in_a_model_s_place_does_not_go_by_slots(provider, put):
    provider.behave = says("I cannot choose.")
    asked = [
        Question(1, 1, np.array([1, 0, 2]), 2),
        Question(1, 2, np.array([0, 1, 2]), 2),
        Question(1, 3, np.array([2, 0, 1]), 2),
    ]
    for question, verdict in zip(asked, put(provider.deployment(), asked), strict=True):
        chosen = [texts(question.candidates)[slot - 1] for slot in verdict.slots]
        assert NOISE not in chosen


def test_invalid_answers_are_not_bought_again_by_the_next_run(provider, put):
    provider.behave = says("I cannot choose.")
    put(provider.deployment(), questions(1))
    assert put(provider.deployment(), questions(1))[0].method is Method.FALLBACK
    assert len(provider.calls) == 3
    provider.behave = honest
    (verdict,) = put(provider.deployment(), questions(1), max_attempts=4)
    assert verdict.method is Method.LLM
    assert len(provider.calls) == 4


@pytest.mark.parametrize(
    "behave",
    [
        fails(400, "This model's maximum context length is 4096 tokens"),
        fails(400, "blocked by the content policy"),
        says(None, finish_reason="content_filter"),
    ],
)
def test_a_question_that_a_model_will_not_take_gives_way_at_once_and_alone(provider, put, behave):
    provider.script(honest, behave)
    methods = [verdict.method for verdict in put(provider.deployment(), questions(3))]
    assert sorted(methods) == [Method.FALLBACK, Method.LLM, Method.LLM]
    assert len(provider.calls) == 3
    again = [verdict.method for verdict in put(provider.deployment(), questions(3))]
    assert again == methods
    assert len(provider.calls) == 3


def test_a_refused_schema_costs_a_question_no_attempt(provider, put):
    provider.script(fails(400, "Unsupported parameter: response_format"))
    deployment = provider.deployment(schema="auto", model="openai/gpt-4o-mini")
    verdicts = put(deployment, questions(4), max_attempts=1)
    assert [verdict.method for verdict in verdicts] == [Method.LLM] * 4
    assert len(provider.calls) == 5


def test_the_first_call_goes_alone_and_the_rest_stay_within_bounds(provider, put):
    provider.behave = late(0.05)
    put(provider.deployment(), questions(30), concurrency=5)
    first, second = provider.calls[:2]
    assert second.arrived_s - first.arrived_s >= 0.05
    assert provider.peak == 5


def test_a_missing_key_makes_no_call(provider, put, monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(ParamError, match="MY_KEY is not set"):
        put(provider.deployment(api_key="os.environ/MY_KEY"), questions(2))
    assert not provider.calls


def test_the_rubric_as_a_route_is_told_as_such(put):
    verdicts = put({"model": "offline/rubric", "schema": "never"}, questions(3, n_picks=2))
    assert {verdict.method for verdict in verdicts} == {Method.RUBRIC}
    assert {verdict.usd for verdict in verdicts} == {0.0}
    assert verdicts[0].slots == tuple(choose(texts(range(SIZE)), 2))


def test_an_interrupted_crowd_leaves_nothing_running():
    running = set()

    async def ask(question):
        running.add(question)
        try:
            if question:
                await asyncio.sleep(60)
        finally:
            running.discard(question)
        return question

    async def interrupt():
        crowd = Crowd(lambda q: None, ask, concurrency=4, advance=lambda: None)
        task = asyncio.create_task(crowd.answers(range(9)))
        while len(running) < 2:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not running

    asyncio.run(interrupt())


def test_questions_are_taken_only_when_it_is_their_turn():
    n_taken = n_answered = most_ahead = 0

    def questions():
        nonlocal n_taken
        for i in range(50):
            n_taken += 1
            yield i

    async def ask(question):
        nonlocal n_answered, most_ahead
        most_ahead = max(most_ahead, n_taken - n_answered)
        await asyncio.sleep(0)
        n_answered += 1
        return question

    crowd = Crowd(lambda q: None, ask, concurrency=4, advance=lambda: None)
    assert asyncio.run(crowd.answers(questions())) == list(range(50))
    assert most_ahead <= 5
