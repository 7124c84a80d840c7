"""Retries, re-asks, halves, the offline judge as a last resort, errors that end a run."""

import socket
import time
from collections import Counter

import numpy as np
import pytest

from tasks.lib.core.errors import LLMError
from tasks.lib.gateway.errors import ErrorKind
from tasks.lib.typicality.typicality import choose
from tasks.llm_select.verdicts import PickMethod, Question
from tests.behaviours import HANG_S, fails, garbled, honest, late, picks, resets, says
from tests.judge_desk import FILTERED, NOISE, SIZE, TOO_LONG, USELESS, chosen, on, questions, texts


@pytest.mark.parametrize(
    ("behave", "kind"),
    [
        (fails(429, retry_after=0), ErrorKind.RATE_LIMIT),
        (fails(500), ErrorKind.SERVER),
        (fails(503), ErrorKind.SERVER),
        (resets(), ErrorKind.CONNECTION),
        (garbled(b"<html>"), ErrorKind.MALFORMED),
        (says("The third one."), "no_list"),
        (picks(4), "out_of_range"),
        (picks(), "too_few"),
        (says(None), "empty"),
    ],
)
def test_a_temporary_failure_is_retried_and_recorded(provider, put, book, behave, kind):
    provider.script(honest, behave)
    verdicts = put(provider.deployment(), questions(3))
    assert [verdict.methods for verdict in verdicts] == [(PickMethod.LLM,)] * 3
    assert Counter(book()) == {"answer": 3, kind: 1}
    assert len(provider.calls) == 4


@pytest.mark.slow
def test_a_late_call_is_retried_and_counts_as_spent_in_full(provider, put, book):
    provider.script(honest, late(HANG_S))
    put(provider.deployment(), questions(2), timeout_s=2.0)
    rows = {outcome: (usd, bound) for outcome, usd, bound in book("outcome, usd, is_upper_bound")}
    assert len(provider.calls) == len(book()) == 3
    usd, is_upper_bound = rows[ErrorKind.TIMEOUT]
    assert is_upper_bound
    assert usd > rows["answer"][0]
    assert put.spent_usd == pytest.approx(sum(book("usd")))


def test_a_refused_call_costs_nothing(provider, put, book):
    provider.script(fails(500), fails(429, retry_after=0))
    put(provider.deployment(), questions(1))
    assert book("usd")[:2] == [0.0, 0.0]
    assert put.spent_usd == pytest.approx(provider.usd)


def test_a_run_waits_as_long_as_retry_after_says(provider, put):
    provider.script(fails(429, retry_after=0.6))
    put(provider.deployment(), questions(1))
    first, second = provider.calls
    assert second.arrived_s - first.arrived_s >= 0.6


def test_an_excessive_retry_after_ends_the_run(provider, put):
    provider.script(fails(429, retry_after=3600))
    with pytest.raises(LLMError, match="rate limit is exceeded"):
        put(provider.deployment(), questions(3))
    assert len(provider.calls) == 1


FATAL_ONES = pytest.mark.parametrize(
    ("behave", "says_what"),
    [
        (fails(401, "Incorrect API key provided: key-0123456789."), "does not accept the key"),
        (fails(403, "No access to this model"), "is not allowed to use this model: No access"),
        (fails(429, "You exceeded it", code="insufficient_quota"), "credit is used up"),
        (fails(404, "The model fake does not exist"), "refuses the request: The model fake"),
        (fails(400, "messages is malformed"), "refuses the request: messages is malformed"),
    ],
)


@FATAL_ONES
@pytest.mark.usefixtures("my_key")
def test_a_fatal_error_ends_the_run_after_one_call_and_tries_no_other_route(
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
def test_no_row_of_the_journal_contains_a_key(provider, put, tmp_path):
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
        (fails(500), "keeps failing"),
        (resets(), "cannot be reached"),
        (garbled(b"<html>Log in</html>"), "not a chat completion"),
        (fails(429, retry_after=0), "rate limit is exceeded"),
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


@pytest.mark.slow
@BROKEN
def test_an_endpoint_that_breaks_ends_the_run_but_answers_are_kept(
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
    assert {verdict.methods for verdict in verdicts} == {(PickMethod.LLM,)}
    assert len(provider.calls) == 5 + n_failed + 35


def test_a_missing_endpoint_is_named_within_seconds(put, book):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        gone = {"model": "openai/x", "schema": "never", "api_base": base, "api_key": "none"}
        prices = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}
        began = time.monotonic()
        with pytest.raises(LLMError, match="cannot be reached") as caught:
            put(gone | prices, questions(50), concurrency=16)
    assert time.monotonic() - began < HANG_S / 2
    assert base in str(caught.value)
    assert book() == [ErrorKind.CONNECTION] * 3
    assert put.spent_usd == 0  # nobody was reached


@pytest.mark.slow
def test_running_calls_may_finish_when_the_run_stops(provider, put):
    """One call hits an exhausted quota while others are running: their answers are kept."""
    provider.behave = on(18, fails(402, "Insufficient credits"), late(0.4))
    with pytest.raises(LLMError, match="credit is used up"):
        put(provider.deployment(), questions(40), concurrency=8)
    n_answered = len(provider.calls) - 1
    assert n_answered < 20
    assert put.n_done == n_answered
    provider.behave = honest
    put(provider.deployment(), questions(40))
    assert len(provider.calls) == 1 + 40


def test_a_reask_quotes_a_useless_reply_and_then_the_offline_judge_picks(provider, put, book):
    provider.behave = says("Slots [1], [9]")
    (verdict,) = put(provider.deployment(), questions(1, n_ranked=2))
    first, second = provider.calls
    assert second.messages[: len(first.messages)] == first.messages
    reply, reask = second.messages[len(first.messages) :]
    assert (reply["role"], reply["content"]) == ("assistant", "Slots [1], [9]")
    assert "a slot is not among 1 to 3" in reask["content"]
    assert verdict.methods == (PickMethod.FALLBACK,) * 2
    assert verdict.slots == tuple(choose(texts(range(SIZE)), 2))
    assert not verdict.answers
    assert book() == ["out_of_range"] * 2


def test_a_model_may_still_answer_after_a_reask(provider, put):
    provider.behave = lambda call: (honest if call.is_reask else USELESS)(call)
    verdicts = put(provider.deployment(), questions(3))
    assert {verdict.methods for verdict in verdicts} == {(PickMethod.LLM,)}
    assert len(provider.calls) == 6
    assert verdicts == put(provider.deployment(), questions(3))
    assert len(provider.calls) == 6


def test_at_most_two_useless_replies_are_ever_bought_for_a_question(provider, put):
    provider.script(USELESS, fails(401))
    provider.behave = USELESS
    with pytest.raises(LLMError):
        put(provider.deployment(), questions(1))
    for _ in range(3):
        (verdict,) = put(provider.deployment(), questions(1), max_attempts=9)
        assert verdict.methods == (PickMethod.FALLBACK,)
    assert len(provider.calls) == 3  # the refused one was no reply


@pytest.mark.parametrize(
    "text",
    ["\ud800 is half a character", "nothing\0 at all", "甲" * 60_000, '{"picks": [1' + "0" * 5000],
    ids=["half a character", "zero byte", "huge", "long number"],
)
def test_any_reply_can_be_recorded_and_quoted(provider, put, book, text):
    provider.script(says(text))
    (verdict,) = put(provider.deployment(), questions(1))
    assert verdict.methods == (PickMethod.LLM,)
    assert len(book()) == len(provider.calls) == 2


def test_an_answer_among_odd_characters_is_kept(provider, put):
    provider.script(says('\ud83d\0 {"picks": [2]} \udead'))
    (verdict,) = put(provider.deployment(), questions(1))
    assert verdict.slots == (2,)
    assert put(provider.deployment(), questions(1)) == [verdict]


def test_the_offline_judge_as_a_fallback_ignores_slots(provider, put):
    provider.behave = USELESS
    asked = [
        Question(1, np.array([1, 0, 2]), 2),
        Question(2, np.array([0, 1, 2]), 2),
        Question(3, np.array([2, 0, 1]), 2),
    ]
    for question, verdict in zip(asked, put(provider.deployment(), asked), strict=True):
        assert NOISE not in texts(chosen(question, verdict))


def test_texts_that_are_too_long_in_total_are_judged_in_halves(provider, put):
    provider.behave = lambda call: (TOO_LONG if len(call.block.texts) > 2 else honest)(call)
    (question,) = questions(1, size=6)
    (verdict,) = put(provider.deployment(), [question])
    assert verdict.methods == (PickMethod.LLM,)
    assert texts(chosen(question, verdict)) == [min(texts(range(6)))]
    assert not verdict.set_aside
    assert not verdict.ballots[0].is_whole  # the audit of slots leaves it out
    n_calls = len(provider.calls)
    assert put(provider.deployment(), [question]) == [verdict]
    assert len(provider.calls) == n_calls


def test_halves_give_the_requested_number_of_picks(provider, put):
    provider.behave = lambda call: (TOO_LONG if len(call.block.texts) > 3 else honest)(call)
    asked = questions(2, n_ranked=5, size=6)
    for question, verdict in zip(asked, put(provider.deployment(), asked), strict=True):
        assert len(set(chosen(question, verdict))) == 5
        assert verdict.methods == (PickMethod.LLM,) * 5


@pytest.mark.parametrize(
    "behave", [FILTERED, says(None, finish_reason="content_filter")], ids=["400", "200"]
)
@pytest.mark.parametrize("n_picks", [1, 3])
def test_a_text_that_a_filter_blocks_is_set_aside_and_the_number_of_picks_is_kept(
    provider, put, behave, n_picks
):
    provider.behave = on(3, behave)
    (question,) = questions(1, n_ranked=n_picks, size=6)
    (verdict,) = put(provider.deployment(), [question])
    assert verdict.set_aside == {4: "content_filter"}
    assert 3 not in chosen(question, verdict)
    assert len(set(verdict.slots)) == n_picks
    assert verdict.methods == (PickMethod.LLM,) * n_picks
    n_calls = len(provider.calls)
    assert put(provider.deployment(), [question]) == [verdict]
    assert len(provider.calls) == n_calls


def test_if_all_texts_are_blocked_all_are_set_aside_and_none_is_ranked(provider, put):
    provider.behave = FILTERED
    (verdict,) = put(provider.deployment(), questions(1, n_ranked=2))
    assert list(verdict.set_aside) == [1, 2, 3]
    assert (verdict.slots, verdict.method) == ((), PickMethod.FALLBACK)
    assert verdict.scores == [0, 0, 0]


def test_a_candidate_that_no_model_accepts_is_not_ranked(provider, put):
    provider.behave = on(0, FILTERED)
    (verdict,) = put(provider.deployment(), questions(1, n_ranked=3))
    assert set(verdict.slots) == {2, 3}
    assert verdict.methods == (PickMethod.LLM, PickMethod.LLM)
    assert verdict.scores[0] == 0
