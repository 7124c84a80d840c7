"""Questions to a real gateway and a server on this machine: verdicts, and their cost."""

import json
from collections import Counter

import pytest

from tasks.lib.typicality.typicality import choose
from tasks.llm_select.attention_checks import CheckKind, Insertion, insert
from tasks.llm_select.verdicts import PickMethod
from tests.behaviours import fails, honest, picks, says
from tests.judge_desk import SIZE, TOO_LONG, USELESS, chosen, questions, texts


def test_verdicts_follow_the_order_of_their_questions(provider, put):
    verdicts = put(provider.deployment(), questions(9))
    assert len(verdicts) == len(provider.calls) == put.n_done == 9
    for question, verdict in zip(questions(9), verdicts, strict=True):
        shown = texts(question.candidates)
        assert shown[verdict.slots[0] - 1] == min(shown)
        assert verdict.methods == (PickMethod.LLM,)


def test_an_answered_question_is_not_sent_again(provider, put):
    first = put(provider.deployment(), questions(6))
    again = put(provider.deployment(), questions(8))
    assert again[:6] == first
    assert len(provider.calls) == 8
    moved = provider.deployment(api_base="http://127.0.0.1:9/v1")
    assert put(moved, questions(8)) == again  # another address changes no answer


@pytest.mark.parametrize(
    ("deployment", "n_picks", "settings"),
    [
        ({"model": "openai/other"}, 1, {}),
        ({"temperature": 0.5}, 1, {}),
        ({"schema": "always"}, 1, {}),
        ({}, 1, {"seed": 1}),
        ({}, 2, {}),
        ({}, 1, {"rationale": True}),
    ],
    ids=["model", "temperature", "schema", "seed", "picks", "rationale"],
)
def test_a_change_that_affects_the_answer_sends_the_question_again(
    provider, put, deployment, n_picks, settings
):
    put(provider.deployment(), questions(2))
    put(provider.deployment(**deployment), questions(2, n_picks), **settings)
    assert len(provider.calls) == 4


def test_a_renamed_alias_buys_nothing_and_answers_carry_its_new_name(provider, put):
    put(provider.deployment(), questions(2))
    verdicts = put(provider.deployment(), questions(2), alias="renamed")
    assert len(provider.calls) == 2
    assert {bought.route for verdict in verdicts for bought in verdict.answers} == {"renamed"}


def test_the_same_question_twice_is_bought_once(provider, put):
    same = questions(1) * 5
    verdicts = put(provider.deployment(), same)
    assert len(provider.calls) == 1
    assert verdicts == [verdicts[0]] * 5


def test_the_cost_is_usage_times_the_configured_price(provider, put):
    priced = provider.deployment(input_cost_per_token=2e-6, output_cost_per_token=1e-5)
    (verdict,) = put(priced, questions(1))
    (bought,) = verdict.answers
    n_in, n_out = provider.tokens
    assert (bought.prompt_tokens, bought.completion_tokens) == (n_in, n_out)
    assert bought.usd == pytest.approx(n_in * 2e-6 + n_out * 1e-5)
    assert put.spent_usd == pytest.approx(bought.usd)
    assert not bought.is_upper_bound


def test_a_call_without_usage_is_settled_at_its_upper_bound(provider, put, book):
    provider.behave = says('{"picks": [1]}', usage=False)
    (verdict,) = put(provider.deployment(), questions(1))
    (bought,) = verdict.answers
    assert bought.is_upper_bound
    assert bought.completion_tokens == 64
    n_bytes = sum(len(message["content"].encode()) for message in provider.calls[0].messages)
    assert bought.prompt_tokens >= n_bytes
    assert book("outcome, is_upper_bound") == [("answer", 1)]
    assert put.spent_usd == pytest.approx(bought.usd)


def test_a_refused_schema_costs_a_question_no_attempt(provider, put):
    provider.script(fails(400, "Unsupported parameter: response_format"))
    deployment = provider.deployment(schema="auto", model="openai/gpt-4o-mini")
    verdicts = put(deployment, questions(4), max_attempts=1)
    assert [verdict.methods for verdict in verdicts] == [(PickMethod.LLM,)] * 4
    assert len(provider.calls) == 5
    assert {bought.dropped_params for v in verdicts for bought in v.answers} == {
        ("response_format",)
    }


def test_picks_of_the_offline_judge_as_a_route_say_so(put):
    verdicts = put({"model": "offline/typical", "schema": "never"}, questions(3, n_ranked=2))
    assert {verdict.methods for verdict in verdicts} == {(PickMethod.OFFLINE,) * 2}
    assert {bought.usd for verdict in verdicts for bought in verdict.answers} == {0.0}
    assert verdicts[0].slots == tuple(choose(texts(range(SIZE)), 2))


def test_votes_use_other_orders_and_name_the_same_candidates(provider, put):
    (question,) = questions(1, size=6)
    (verdict,) = put(provider.deployment(), [question], votes=5)
    orders = [tuple(call.block.texts) for call in provider.calls]
    assert len(set(orders)) == len(orders)
    assert len({tuple(sorted(order)) for order in orders}) == 1
    assert {call.block.n_picks for call in provider.calls} == {3}  # two ranks more than needed
    assert len({ballot.ranking for ballot in verdict.ballots}) == 1
    assert len({ballot.shown for ballot in verdict.ballots}) == len(verdict.ballots)
    assert texts(chosen(question, verdict)) == sorted(texts(range(6)))[:3]


def test_votes_end_early_if_they_agree_and_all_are_cast_if_they_do_not(provider, put):
    put(provider.deployment(), questions(1, size=6), votes=3)
    assert len(provider.calls) == 2
    provider.behave = picks(1, 2, 3)  # goes by slots
    (verdict,) = put(provider.deployment(model="openai/b"), questions(1, size=6), votes=3)
    assert len(provider.calls) == 2 + 3
    assert len(verdict.ballots) == len(verdict.answers) == 3


def test_a_vote_that_repeats_the_bytes_of_an_earlier_one_buys_its_own_answer(provider, put):
    provider.behave = lambda call: (TOO_LONG if len(call.block.texts) > 2 else honest)(call)
    for _ in range(2):
        put(provider.deployment(), questions(1, size=4), votes=2)
        n_asked = Counter(tuple(call.block.texts) for call in provider.calls)
        assert sorted(n_asked.values()) == [1, 1, 2, 2]  # whole in two orders, each half twice


def test_votes_are_not_bought_again(provider, put):
    provider.behave = picks(1, 2, 3)
    put(provider.deployment(), questions(2, size=6), votes=2)
    assert len(provider.calls) == 4
    put(provider.deployment(), questions(2, size=6), votes=2)
    assert len(provider.calls) == 4


def test_if_one_vote_has_no_answer_the_others_decide(provider, put):
    def behave(call):
        first_shown = "item 0 " in call.block.texts[0]
        return (USELESS if first_shown else honest)(call)

    provider.behave = behave
    (question,) = questions(1, size=6)
    (verdict,) = put(provider.deployment(), [question], votes=3)
    assert len(verdict.ballots) == 2
    assert set(verdict.methods) == {PickMethod.LLM}
    assert texts(chosen(question, verdict)) == sorted(texts(range(6)))[:3]


def test_each_pick_has_its_rationale(provider, put):
    provider.behave = says(
        json.dumps({"picks": [3, 1], "reasons": ["It is rare.", "It is clear."]})
    )
    (verdict,) = put(provider.deployment(), questions(1, n_ranked=2), rationale=True)
    assert verdict.slots == (3, 1)
    assert verdict.reasons == {3: "It is rare.", 1: "It is clear."}
    assert '"reasons"' in provider.calls[0].messages[-1]["content"]


def test_an_answer_without_the_rationale_still_counts(provider, put):
    (verdict,) = put(provider.deployment(), questions(1), rationale=True)
    assert verdict.reasons == {}
    assert len(provider.calls) == 1


def test_an_attention_check_replaces_a_candidate(provider, put):
    insertion = Insertion(0, CheckKind.INJECTION, seed=5)
    (plain,) = questions(1)
    (verdict,) = put(provider.deployment(), [plain._replace(attention_check=insertion)], votes=3)
    inserted, slot = insert(texts(range(SIZE)), insertion.kind, insertion.seed)
    assert verdict.attention_check_slot == slot
    assert [call.block.texts for call in provider.calls] == [inserted]  # one vote will do
