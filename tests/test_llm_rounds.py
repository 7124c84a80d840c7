"""The rounds of a selection: it spends each budget exactly and repeats no record."""

import asyncio
from collections import Counter
from itertools import pairwise

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
from tests.judge_desk import verdict_of

MODES = st.sampled_from([Mode.WITHIN, Mode.ACROSS])
SIZES = st.integers(1, 9)


def judge(n_answers=10_000):
    """Return a judge that prefers large candidate numbers, and gives at most `n_answers`."""
    left = n_answers

    async def ask(questions):
        nonlocal left
        verdicts = []
        for question in questions:
            if not left:
                return verdicts
            left -= 1
            order = np.argsort(-question.candidates)[: question.n_picks]
            verdicts.append(verdict_of(int(i) + 1 for i in order))
        return verdicts

    return ask


def plan_of(*budgets, size=4, mode=Mode.ACROSS, seed=0):
    return TournamentPlan(tuple(sorted(set(budgets))), size, mode, seed)


def selection(n, *budgets, size=4, mode=Mode.ACROSS, seed=0, ask=None):
    n_prompts = -(-n // size)
    clusters = (np.arange(n) % (n_prompts if mode is Mode.WITHIN else size)).astype(np.int32)
    prompts = compose(clusters, n_prompts, mode, seed)
    plan = plan_of(*budgets, size=size, mode=mode, seed=seed)
    return asyncio.run(llm_select(prompts, clusters, plan, ask or judge()))


def chosen(result):
    return [pick.candidate for pick in result.selected]


SHAPES = st.integers(1, 60).flatmap(
    lambda n: st.tuples(st.just(n), st.integers(1, n), SIZES, MODES)
)
SHAPES_OF_BUDGETS = st.integers(2, 60).flatmap(
    lambda n: st.tuples(
        st.just(n), st.lists(st.integers(1, n), min_size=1, max_size=4), SIZES, MODES
    )
)


@settings(max_examples=150)
@given(shape=SHAPES, seed=st.integers(0, 9))
def test_a_selection_spends_the_budget_exactly_and_repeats_no_record(shape, seed):
    n, budget, size, mode = shape
    result = selection(n, budget, size=size, mode=mode, seed=seed)
    assert len(chosen(result)) == len(set(chosen(result))) == budget
    assert set(chosen(result)) <= set(range(n))
    assert result.rounds[-1].n_picks == budget
    counts = Counter(pick.question.round for pick in result.picks)
    assert [counts[r.round] for r in result.rounds] == [r.n_picks for r in result.rounds]


@settings(max_examples=100)
@given(shape=SHAPES)
def test_each_round_holds_only_winners_of_the_round_before(shape):
    n, budget, size, mode = shape
    result = selection(n, budget, size=size, mode=mode)
    for before, after in pairwise(result.rounds):
        winners = {p.candidate for p in result.picks if p.question.round == before.round}
        shown = {
            int(i)
            for p in result.picks
            if p.question.round == after.round
            for i in p.question.candidates
        }
        assert shown <= winners
        assert budget < before.n_prompts == after.n_candidates == len(winners)


@settings(max_examples=60)
@given(n=st.integers(8, 60), size=st.integers(2, 9), data=st.data())
def test_a_smaller_budget_is_the_beginning_of_a_larger_one(n, size, data):
    n_prompts = -(-n // size)
    small = data.draw(st.integers(n_prompts, n))
    large = data.draw(st.integers(small, n))
    first, second = (chosen(selection(n, budget, size=size)) for budget in (small, large))
    assert second[:small] == first


def test_the_best_candidate_wins_a_tournament():
    result = selection(64, 1)
    assert [r.n_prompts for r in result.rounds] == [16, 4, 1]
    assert chosen(result) == [63]


def test_a_tournament_ends_when_there_are_no_more_prompts_than_picks():
    rounds = plan_rounds(14_000, 1_000, plan_of(37, size=14))
    assert [(r.n_prompts, r.n_candidates, r.n_picks) for r in rounds] == [
        (1000, 14_000, 1000),
        (72, 1000, 72),
        (6, 72, 37),
    ]


def test_prompts_of_one_candidate_do_not_loop_forever():
    assert len(plan_rounds(8, 8, plan_of(1, size=1))) == 4


def test_a_budget_above_the_number_of_records_says_how_many_there_are():
    with pytest.raises(
        ParamError, match=r"budget is 5,000, but there are only 1,234 records.*\n.*1234"
    ):
        check_budgets((5000,), Mode.ACROSS, 1234, 89)


@pytest.mark.parametrize(
    ("budget", "offered"), [(1500, "1000 or 2000"), (10, "1000"), (13_999, "13000 or 14000")]
)
def test_paper_mode_needs_a_multiple_of_the_prompts_and_offers_the_nearest(budget, offered):
    with pytest.raises(ParamError, match=f"Set it to {offered}, or set cluster.mode to across"):
        check_budgets((budget,), Mode.PAPER, 14_000, 1_000)
    check_budgets((2_000,), Mode.PAPER, 14_000, 1_000)


@settings(max_examples=150)
@given(SHAPES_OF_BUDGETS)
def test_budgets_are_nested_and_each_gives_its_own_selection(shape):
    n, budgets, size, mode = shape
    together = chosen(selection(n, *budgets, size=size, mode=mode))
    assert len(together) == len(set(together)) == max(budgets)
    for budget in budgets:
        alone = chosen(selection(n, budget, size=size, mode=mode))
        assert set(together[:budget]) == set(alone)


@settings(max_examples=100)
@given(SHAPES_OF_BUDGETS)
def test_several_budgets_need_no_more_rounds_than_the_smallest(shape):
    n, budgets, size, _ = shape
    n_prompts = -(-n // size)
    rounds = plan_rounds(n, n_prompts, plan_of(*budgets, size=size))
    alone = max((plan_rounds(n, n_prompts, plan_of(b, size=size)) for b in budgets), key=len)
    assert [r.n_prompts for r in rounds] == [r.n_prompts for r in alone]
    assert rounds[-1].n_prompts <= min(budgets)


def test_a_record_of_a_smaller_budget_has_the_round_that_chose_it():
    result = selection(64, 3, 20)
    assert [pick.question.round for pick in result.selected] == [3] * 3 + [2] + [1] * 16
    assert [r.n_picks for r in result.rounds] == [20, 4, 3]


def test_at_the_cap_in_a_later_round_the_larger_budget_is_complete():
    result = selection(64, 1, 20, ask=judge(18))
    assert result.is_partial
    assert sorted(chosen(result)) == sorted(chosen(selection(64, 20)))
    assert [pick.question.round for pick in result.selected] == [2, 2] + [1] * 18


def test_at_the_cap_between_rounds_earlier_winners_fill_the_budget():
    result = selection(64, 2, ask=judge(16 + 1))
    assert result.is_partial
    assert [pick.question.round for pick in result.selected] == [2, 1]


def test_in_paper_mode_every_budget_has_to_be_a_multiple_of_the_prompts():
    with pytest.raises(ParamError, match=r"budget is 1,500.*\n.*1000 or 2000"):
        check_budgets((1_000, 1_500, 2_000), Mode.PAPER, 14_000, 1_000)
    check_budgets((1_000, 2_000), Mode.PAPER, 14_000, 1_000)


@pytest.mark.parametrize(
    ("take", "expected"), [(Take.FIRST, "abc"), (Take.MIDDLE, "efg"), (Take.LAST, "ijk")]
)
def test_take_decides_which_ranks_fill_the_quota(take, expected):
    assert "abcdefghijk"[take.ranks(11, 3)] == expected
    assert "abc"[take.ranks(3, 3)] == "abc"
