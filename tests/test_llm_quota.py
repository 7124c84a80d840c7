"""Quotas: how prompts share a budget."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.lib.prompts.share_budget import Take, prompt_order, quotas

SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=12)


@given(sizes=SIZES, share=st.floats(0, 1), seed=st.integers(0, 99))
def test_quotas_sum_to_the_budget_and_fit_their_prompts(sizes, share, seed):
    budget = round(share * sum(sizes))
    picks = quotas(budget, np.array(sizes), seed)
    assert picks.sum() == budget
    assert (picks >= 0).all()
    assert (picks <= sizes).all()


@given(n_prompts=st.integers(1, 9), size=st.integers(1, 9), seed=st.integers(0, 99), data=st.data())
def test_prompts_of_equal_size_pick_the_same_number_or_one_more(n_prompts, size, seed, data):
    budget = data.draw(st.integers(0, n_prompts * size))
    picks = quotas(budget, np.full(n_prompts, size), seed)
    assert set(picks) <= {budget // n_prompts, budget // n_prompts + 1}
    assert (picks > budget // n_prompts).sum() == budget % n_prompts


@given(sizes=SIZES, seed=st.integers(0, 99))
def test_a_larger_budget_never_lowers_the_quota_of_a_prompt(sizes, seed):
    shares = [quotas(n, np.array(sizes), seed) for n in range(sum(sizes) + 1)]
    assert all((after - before).min() >= 0 for before, after in pairwise(shares))


def test_larger_prompts_pick_first_and_ties_are_random():
    sizes = np.array([3, 4, 3, 4, 3])
    assert set(np.flatnonzero(quotas(2, sizes, seed=0))) == {1, 3}
    third = {int(np.flatnonzero(quotas(3, sizes, seed) * (sizes == 3))[0]) for seed in range(40)}
    assert third == {0, 2, 4}
    assert list(prompt_order(sizes, 7)) == list(prompt_order(sizes, 7))


def test_more_picks_than_candidates_are_refused():
    with pytest.raises(ValueError, match="7 picks from 6"):
        quotas(7, np.array([3, 3]), 0)


@pytest.mark.parametrize(
    ("take", "expected"), [(Take.FIRST, "abc"), (Take.MIDDLE, "efg"), (Take.LAST, "ijk")]
)
def test_take_decides_which_part_of_a_ranking_counts(take, expected):
    assert "abcdefghijk"[take.ranks(11, 3)] == expected
    assert "abc"[take.ranks(3, 3)] == "abc"
