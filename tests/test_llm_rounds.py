"""The rounds of a selection: it spends the budget exactly and repeats nobody, whoever judges."""

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
from tasks.llm_select.step import llm_select
from tasks.llm_select.verdicts import PickMethod, Verdict


async def by_number(questions):
    """A judge that likes candidates of a large number, wherever they stand."""
    verdicts = []
    for question in questions:
        order = np.argsort(-question.candidates)[: question.n_picks]
        slots = tuple(int(i) + 1 for i in order)
        verdicts.append(
            Verdict(slots, (PickMethod.LLM,) * len(slots), (None,) * len(slots), (), ())
        )
    return verdicts


def selection(n, budget, *, size=4, mode=Mode.ACROSS, seed=0):
    n_prompts = -(-n // size)
    clusters = (np.arange(n) % (n_prompts if mode is Mode.WITHIN else size)).astype(np.int32)
    prompts = compose(clusters, n_prompts, mode, seed)
    plan = TournamentPlan((budget,), size, mode, seed)
    return asyncio.run(llm_select(prompts, clusters, plan, by_number))


SHAPES = st.integers(1, 60).flatmap(
    lambda n: st.tuples(
        st.just(n), st.integers(1, n), st.integers(1, 9), st.sampled_from([*Mode][:2])
    )
)


@settings(max_examples=150)
@given(shape=SHAPES, seed=st.integers(0, 9))
def test_a_selection_spends_the_budget_exactly_and_repeats_nobody(shape, seed):
    n, budget, size, mode = shape
    result = selection(n, budget, size=size, mode=mode, seed=seed)
    chosen = [pick.candidate for pick in result.selected]
    assert len(chosen) == len(set(chosen)) == budget
    assert set(chosen) <= set(range(n))
    assert [this.n_picks for this in result.rounds][-1] == budget
    counts = Counter(pick.question.round for pick in result.picks)
    assert [counts[this.round] for this in result.rounds] == [r.n_picks for r in result.rounds]


@settings(max_examples=100)
@given(shape=SHAPES)
def test_each_round_is_made_of_the_winners_of_the_one_before(shape):
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
    first, second = (
        [pick.candidate for pick in selection(n, budget, size=size).selected]
        for budget in (small, large)
    )
    assert second[:small] == first


def test_the_best_comes_through_a_tournament():
    result = selection(64, 1)
    assert [this.n_prompts for this in result.rounds] == [16, 4, 1]
    assert [pick.candidate for pick in result.selected] == [63]


def test_a_tournament_ends_when_there_are_no_more_prompts_than_picks():
    rounds = plan_rounds(14_000, 1_000, TournamentPlan((37,), 14, Mode.ACROSS, 0))
    assert [(this.n_prompts, this.n_candidates, this.n_picks) for this in rounds] == [
        (1000, 14_000, 1000),
        (72, 1000, 72),
        (6, 72, 37),
    ]


def test_prompts_of_one_candidate_do_not_go_round_for_ever():
    assert len(plan_rounds(8, 8, TournamentPlan((1,), 1, Mode.ACROSS, 0))) == 4


def test_a_budget_above_the_number_of_records_says_how_many_there_are():
    with pytest.raises(ParamError, match=r"budget is 5,000, and only 1,234 records.*\n.*1234"):
        check_budgets((5000,), Mode.ACROSS, 1234, 89)


@pytest.mark.parametrize(
    ("budget", "offered"), [(1500, "1000 or 2000"), (10, "1000"), (13_999, "13000 or 14000")]
)
def test_paper_mode_wants_a_multiple_of_the_prompts_and_offers_the_nearest(budget, offered):
    with pytest.raises(ParamError, match=f"Set it to {offered}, or cluster.mode to across"):
        check_budgets((budget,), Mode.PAPER, 14_000, 1_000)
    check_budgets((2_000,), Mode.PAPER, 14_000, 1_000)
