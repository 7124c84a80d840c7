"""Several budgets at once, and the ranks that fill them."""

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.lib.core.errors import ParamError
from tasks.lib.prompts.compose import compose
from tasks.lib.prompts.geometry import Mode, check_budgets
from tasks.lib.prompts.plan import TournamentPlan, plan_rounds
from tasks.lib.prompts.quota import Take
from tasks.llm_select.step import llm_select
from tasks.llm_select.verdicts import PickMethod, Verdict


def judge(*, n_answers=10_000):
    """Likes candidates of a large number, wherever they stand; answers so many questions."""
    left = n_answers

    async def ask(questions):
        nonlocal left
        verdicts = []
        for question in questions:
            if not left:
                return verdicts
            left -= 1
            order = np.argsort(-question.candidates)[: question.n_picks]
            slots = tuple(int(i) + 1 for i in order)
            verdicts.append(
                Verdict(slots, (PickMethod.LLM,) * len(slots), (None,) * len(slots), (), ())
            )
        return verdicts

    return ask


def selection(n, budgets, *, size=4, mode=Mode.ACROSS, ask=None):
    clusters = (np.arange(n) % (-(-n // size) if mode is Mode.WITHIN else size)).astype(np.int32)
    prompts = compose(clusters, -(-n // size), mode, seed=0)
    plan = TournamentPlan(tuple(sorted(set(budgets))), size, mode, 0)
    return asyncio.run(llm_select(prompts, clusters, plan, ask or judge()))


def chosen(result):
    return [pick.candidate for pick in result.selected]


SHAPES = st.integers(2, 60).flatmap(
    lambda n: st.tuples(
        st.just(n),
        st.lists(st.integers(1, n), min_size=1, max_size=4),
        st.integers(1, 9),
        st.sampled_from([Mode.WITHIN, Mode.ACROSS]),
    )
)


@settings(max_examples=150)
@given(SHAPES)
def test_budgets_are_nested_and_each_is_the_selection_it_would_be_alone(shape):
    n, budgets, size, mode = shape
    together = chosen(selection(n, budgets, size=size, mode=mode))
    assert len(together) == len(set(together)) == max(budgets)
    for budget in budgets:
        alone = chosen(selection(n, [budget], size=size, mode=mode))
        assert set(together[:budget]) == set(alone)


@settings(max_examples=100)
@given(SHAPES)
def test_one_call_a_prompt_serves_all_budgets_that_its_round_can(shape):
    n, budgets, size, _ = shape
    n_prompts = -(-n // size)
    rounds = plan_rounds(
        n, n_prompts, TournamentPlan(tuple(sorted(set(budgets))), size, Mode.ACROSS, 0)
    )
    alone = max(
        (plan_rounds(n, n_prompts, TournamentPlan((b,), size, Mode.ACROSS, 0)) for b in budgets),
        key=len,
    )
    assert [r.n_prompts for r in rounds] == [r.n_prompts for r in alone]
    assert rounds[-1].n_prompts <= min(budgets)


def test_a_record_of_a_smaller_budget_is_told_with_the_round_that_chose_it():
    result = selection(64, [3, 20])
    assert [pick.question.round for pick in result.selected] == [3] * 3 + [2] + [1] * 16
    assert [this.n_picks for this in result.rounds] == [20, 4, 3]


def test_where_the_money_ends_in_a_later_round_the_larger_budget_is_whole():
    result = selection(64, [1, 20], ask=judge(n_answers=18))
    assert result.is_partial
    assert sorted(chosen(result)) == sorted(chosen(selection(64, [20])))
    assert [pick.question.round for pick in result.selected] == [2, 2] + [1] * 18


def test_where_the_money_ends_between_rounds_the_winners_so_far_fill_it_up():
    result = selection(64, [2], ask=judge(n_answers=16 + 1))
    assert result.is_partial
    assert [pick.question.round for pick in result.selected] == [2, 1]


def test_the_least_of_several_budgets_is_held_against_the_paper_s_prompts():
    with pytest.raises(ParamError, match=r"budget is 1,500.*\n.*1000 or 2000"):
        check_budgets((1_000, 1_500, 2_000), Mode.PAPER, 14_000, 1_000)
    check_budgets((1_000, 2_000), Mode.PAPER, 14_000, 1_000)


@pytest.mark.parametrize(
    ("take", "expected"), [(Take.FIRST, "abc"), (Take.MIDDLE, "efg"), (Take.LAST, "ijk")]
)
def test_ranks_are_taken_from_where_they_are_asked_for(take, expected):
    assert "abcdefghijk"[take.ranks(11, 3)] == expected
    assert "abc"[take.ranks(3, 3)] == "abc"
