"""Scores by logprobs: one token per question, a preference for each slot, several orders."""

import asyncio
import json
import math
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.estimate.preview import preview
from tasks.lib.core.errors import LLMError, ParamError
from tasks.lib.core.params import read_params
from tasks.lib.gateway.journal_lookup import JournalLookup
from tasks.lib.gateway.reply import ReplyProblem
from tasks.lib.gateway.request import CallSettings
from tasks.lib.gateway.routes import load_chain, load_route
from tasks.lib.journal.reader import JournalReader
from tasks.llm_select.ask_routes import JudgeSettings
from tasks.llm_select.judge import Judge
from tasks.llm_select.letters import LetterBias, mean_preferences, parse_letters, read_preferences
from tasks.llm_select.prompt import read_prompt
from tasks.llm_select.verdicts import PickMethod
from tests.behaviours import fails, says, writes_letter
from tests.judge_desk import PROMPT, SIZE, questions, texts
from tests.selection_desk import N_RECORDS
from tests.workspaces import PROJECT

REFUSED = "'logprobs' is not supported with this model."
TEXTS = [f"Name {n} rivers of Asia, and say where each one ends." for n in range(2, 6)]


def by_alphabet(question):
    shown = texts(question.candidates)
    return tuple(sorted(range(1, len(shown) + 1), key=lambda slot: shown[slot - 1]))


def test_a_question_asks_for_one_token_and_its_verdict_ranks_by_log_probability(provider, put):
    provider.behave = writes_letter()
    mine = provider.deployment(logprobs=True, schema="always")
    verdicts = put(mine, questions(3, 3))
    body, messages = provider.calls[0].body, provider.calls[0].messages
    assert (body["max_tokens"], body["logprobs"], body["top_logprobs"]) == (1, True, 20)
    assert "response_format" not in body
    assert [message["role"] for message in messages] == ["system", "user", "assistant"]
    assert messages[2]["content"] == "The best candidate is in slot"
    assert "JSON" not in str(messages)
    for question, verdict in zip(questions(3), verdicts, strict=True):
        assert verdict.slots == by_alphabet(question)
        assert verdict.scores[verdict.slots[0] - 1] == 1
        assert verdict.methods == (PickMethod.LLM,) * SIZE
    assert put.spent_usd == pytest.approx(provider.usd)
    assert put(mine, questions(3, 3)) == verdicts
    assert len(provider.calls) == 3


def test_the_mean_over_all_orders_cancels_a_bias_of_the_slots(provider, put):
    provider.behave = writes_letter(bias=(9.0, 0.0, 4.0))
    (biased,) = put(provider.deployment(logprobs=True), questions(1, 3))
    assert biased.slots[0] == 1
    (mean,) = put(provider.deployment(logprobs=True), questions(1, 3), votes=SIZE)
    assert mean.slots == by_alphabet(questions(1)[0])
    assert {ballot.shown[0] for ballot in mean.ballots} == {1}  # each order alone picks slot A


@pytest.mark.parametrize(
    ("reply", "says_why"),
    [
        (says("A", "length"), "the route has logprobs: true, but its endpoint returns none"),
        (says("", "length"), "the reply has no top_logprobs"),
        (fails(400, REFUSED, param="logprobs"), f"the provider refuses the request: {REFUSED}"),
        (fails(400, "top_logprobs must be at most 5"), "top_logprobs must be at most 5"),
    ],
    ids=["none", "empty", "refused", "fewer"],
)
def test_without_logprobs_the_first_reply_ends_the_run(provider, put, book, reply, says_why):
    provider.behave = reply
    with pytest.raises(LLMError, match=r"(?s)Remove logprobs from models\.mine") as error:
        put(provider.deployment(logprobs=True), questions(9))
    assert says_why in str(error.value)
    assert "set top_logprobs to that number" in str(error.value)
    assert len(provider.calls) == len(book()) == 1
    assert put.spent_usd == pytest.approx(provider.usd)


def test_a_model_that_takes_no_logprobs_is_refused_before_any_call(put, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "key-0123456789")
    claude = {"model": "anthropic/claude-sonnet-4-5", "schema": "never", "logprobs": True}
    with pytest.raises(ParamError, match=r"models\.mine .*: LiteLLM sends no top_logprobs to"):
        put(claude, questions(1))


def test_a_reply_without_letters_is_re_asked_once_and_its_prompt_falls_back(provider, put, book):
    provider.behave = writes_letter(n_top=2)
    (verdict,) = put(provider.deployment(logprobs=True), questions(1))
    assert verdict.method is PickMethod.FALLBACK
    assert book() == ["no_letter", "no_letter"]
    again = provider.calls[-1].messages
    roles = [message["role"] for message in again]
    assert roles == ["system", "user", "assistant", "user", "assistant"]
    assert again[2]["content"].startswith("The best candidate is in slot A")
    assert "no letter from A to C is among its likeliest tokens" in again[3]["content"]


def test_a_filtered_reply_needs_no_logprobs_and_its_prompt_is_halved(provider, put):
    provider.behave = writes_letter()
    provider.script(says("", "content_filter"))
    (verdict,) = put(provider.deployment(logprobs=True), questions(1))
    assert verdict.slots == by_alphabet(questions(1)[0])[:1]
    assert verdict.method is PickMethod.LLM


def test_a_slot_that_is_not_reported_is_ranked_last_and_counted(desk, provider):
    provider.behave = writes_letter(n_top=2 + 5)
    done = desk.run(provider.deployment(logprobs=True), shortlist=6)
    assert done.exit_code == 0, done.said
    assert desk.usage()["slots_without_logprob"] == 3 * N_RECORDS // 8
    ranked = [row for row in desk.ballots() if row["rank"]]
    assert {row["method"] for row in ranked if row["rank"] <= 5} == {"llm"}
    assert {row["method"] for row in ranked if row["rank"] == 6} == {"fallback"}


def test_a_preview_and_a_run_share_their_answers_and_keep_to_the_estimate(desk, provider):
    provider.behave = writes_letter()
    desk.set(provider.deployment(logprobs=True), votes=3)
    values = read_params(desk.root / "params.yaml")
    previewed = preview(desk.root, values, 1, is_grouped=True)
    shown, *_ = previewed.exchanges
    assert list(shown.ranked.values()) == sorted(shown.ranked.values())
    assert set(json.loads(shown.calls[0].reply)) > {" A", " H", "The"}
    n_calls = len(provider.calls)
    assert desk.run(provider.deployment(logprobs=True), votes=3).exit_code == 0
    assert len(provider.calls) == n_calls * N_RECORDS // 8
    assert desk.usage()["usd"] == pytest.approx(provider.usd)
    assert "slots_without_logprob" not in desk.usage()


def test_verify_reads_the_same_verdicts_from_the_journal(provider, put, tmp_path):
    provider.behave = writes_letter(bias=(2.0, 0.0, 1.0))
    mine = provider.deployment(logprobs=True)
    verdicts = put(mine, questions(4, 2), votes=3)
    routes = load_chain({"models": {"mine": mine}}, "mine", [])
    settings = JudgeSettings(PROMPT, False, 3, 500, CallSettings(0, 64, 3, 9.0, 4), 3)
    with closing(JournalReader(tmp_path / "journal.sqlite")) as journal:
        judge = Judge(JournalLookup(journal), routes, settings, texts)
        again = []
        asyncio.run(judge(questions(4, 2), again.append))
    assert [judged.verdict for judged in again] == verdicts


def test_a_fallback_route_may_answer_with_a_list(provider, second, put):
    provider.behave = writes_letter(n_top=2)
    (verdict,) = put(
        provider.deployment(logprobs=True), questions(1, 2), second.deployment(), votes=3
    )
    assert verdict.slots[:2] == by_alphabet(questions(1)[0])[:2]
    assert verdict.method is PickMethod.LLM


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"rationale": True}, "llm_select.rationale asks for sentences"),
        ({"take": "last"}, "llm_select.take is last, which requires a whole ranking"),
        ({"prompt": "whole.txt"}, "is a whole prompt, which asks for a list of slots"),
    ],
)
def test_what_a_letter_cannot_answer_is_refused_before_any_call(desk, provider, params, why):
    whole = "Be fair.\n===== user =====\n$candidates $n_picks $n_candidates\n"
    (desk.root / "whole.txt").write_text(whole)
    done = desk.run(provider.deployment(logprobs=True), **params)
    assert (done.exit_code, len(provider.calls)) == (2, 0)
    assert "models.mine.logprobs is true" in done.said
    assert why in done.said


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"logprobs": True, "max_answer_tokens": 64}, "max_answer_tokens is 64, but with logpr"),
        ({"logprobs": True, "thinking_tokens": 64}, "a reply has one token"),
        ({"logprobs": True, "reasoning_effort": "low"}, "reasoning_effort is low"),
        ({"top_logprobs": 5}, "top_logprobs has no effect without logprobs"),
        ({"logprobs": 5}, "logprobs: .*valid boolean"),
        ({"extra_body": {"logprobs": True}}, "(?s)must not contain logprobs.*Set logprobs"),
        ({"model": "offline/typical", "logprobs": True}, "is not a language model"),
    ],
)
def test_keys_that_contradict_a_reply_of_one_token_are_refused(keys, why):
    plain = {"model": "openai/x", "schema": "never"}
    with pytest.raises(ParamError, match=why):
        load_route({"models": {"mine": plain | keys}}, "mine")
    fine = plain | {"logprobs": True, "reasoning_effort": "none", "top_logprobs": 50}
    assert load_route({"models": {"mine": fine}}, "mine").logprobs


def test_spellings_of_a_letter_are_added_and_others_are_ignored():
    found = {"B": math.log(0.2), " B": math.log(0.1), "A": math.log(0.25), "The": -9.0}
    found |= {"AB": -0.1, "b": -0.1, "": -0.1, "D": -0.2}
    assert parse_letters(json.dumps(found), 3) == [2, 1]
    bound = read_preferences(json.dumps(found), 3)
    assert bound == pytest.approx((math.log(0.25), math.log(0.3), -9.0))
    assert parse_letters(json.dumps({"The": -1.0}), 3).problem is ReplyProblem.NO_LETTER
    assert parse_letters("", 3).problem is ReplyProblem.NO_LETTER


@given(st.permutations(range(4)), st.lists(st.floats(-9, 0), min_size=4, max_size=4))
def test_the_mean_of_all_rotations_does_not_depend_on_the_letters(likes, bias):
    orders = [(*range(shift, 4), *range(shift)) for shift in range(4)]
    votes = [tuple(likes[i] + b for i, b in zip(o, bias, strict=True)) for o in orders]
    means = mean_preferences(votes, orders, np.zeros(4))
    assert means - means.mean() == pytest.approx(np.array(likes) - np.mean(likes), abs=1e-9)


def test_one_vote_on_each_of_many_prompts_is_enough_to_measure_the_bias(provider, put):
    provider.behave = writes_letter(bias=(9.0, 0.0, 4.0))
    asked = [
        question._replace(candidates=np.roll(question.candidates, i))
        for i, question in enumerate(questions(12, 3))
    ]
    verdicts = put(provider.deployment(logprobs=True), asked)
    assert [verdict.slots for verdict in verdicts] == [by_alphabet(q) for q in asked]
    assert {verdict.ballots[0].ranking[0] for verdict in verdicts} == {1}


def test_a_prompt_does_not_count_toward_its_own_bias():
    bias, vote, other = LetterBias(), (-1.0, -2.0), (-3.0, -1.0)
    bias.add(vote)
    assert list(bias.without([vote])) == [0, 0]
    bias.add(other)
    assert list(bias.without([vote])) == [*other]


def test_the_words_of_a_question_do_not_depend_on_the_number_of_ranks():
    prompt = read_prompt(PROJECT / "tasks/llm_select/criteria.txt")
    messages = prompt.letter_messages(TEXTS)
    assert "$" not in str(messages)
    assert " slot D -----" in messages[1]["content"]
