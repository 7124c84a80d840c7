"""The orders of several votes on a prompt, and their combination."""

from itertools import permutations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tasks.lib.typicality.typicality import choose
from tasks.llm_select.votes import (
    as_ballot,
    combine,
    is_settled,
    judge_scores,
    n_asked,
    n_useful,
    order,
)

N = st.integers(1, 30)
VOTES = st.integers(1, 12)
TEXTS = [f"Name {n} rivers of Asia, and say where each one ends." for n in range(2, 10)]
BALLOTS = st.lists(
    st.permutations(range(1, 9)).map(lambda slots: tuple(slots[:3])), min_size=1, max_size=5
)


@given(N, VOTES)
def test_every_vote_shows_every_candidate_once_and_the_first_vote_keeps_their_order(n, n_votes):
    shown = [order(n, vote, n_votes) for vote in range(1, n_useful(n, n_votes) + 1)]
    assert shown[0] == tuple(range(n))
    assert all(sorted(slots) == list(range(n)) for slots in shown)


@given(N, VOTES)
def test_each_candidate_has_a_different_slot_in_every_vote(n, n_votes):
    shown = [order(n, vote, n_votes) for vote in range(1, n_useful(n, n_votes) + 1)]
    for candidate in range(n):
        assert len({slots.index(candidate) for slots in shown}) == min(n, n_votes)


@given(N, VOTES)
def test_the_slots_of_a_candidate_are_spread_evenly_over_the_prompt(n, n_votes):
    n_cast = n_useful(n, n_votes)
    slots = sorted(order(n, vote, n_votes).index(0) for vote in range(1, n_cast + 1))
    gaps = [(b - a) % n or n for a, b in zip(slots, slots[1:] + slots[:1], strict=True)]
    assert sum(gaps) == n
    assert max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("vote", [0, 4])
def test_there_is_no_vote_beyond_the_last_useful_one(vote):
    with pytest.raises(ValueError, match=f"vote {vote} of 3"):
        order(3, vote, 5)


@given(N, VOTES, st.data())
def test_a_ballot_names_the_candidates_in_the_picked_slots(n, n_votes, data):
    vote = data.draw(st.integers(1, n_useful(n, n_votes)))
    picks = data.draw(st.permutations(range(1, n + 1)))
    names = [f"candidate {i}" for i in range(n)]
    shown = order(n, vote, n_votes)
    in_slots = [names[i] for i in shown]
    ballot = as_ballot(picks, shown)
    assert [names[slot - 1] for slot in ballot] == [in_slots[slot - 1] for slot in picks]


@given(N, VOTES, st.data())
def test_a_ballot_ranks_at_least_three_slots_if_votes_are_combined(n, n_votes, data):
    n_ranked = data.draw(st.integers(1, n))
    asked = n_asked(n, n_ranked, n_votes)
    assert n_ranked <= asked <= n
    if n_useful(n, n_votes) == 1:
        assert asked == n_ranked
    else:
        assert asked == max(n_ranked, min(n, 3))


def test_votes_stop_when_more_than_half_agree_and_none_differs():
    same, other = (2, 5, 1), (2, 5, 3)
    assert not is_settled([same], n_votes=3, n_ranked=2)
    assert is_settled([same, other], n_votes=3, n_ranked=2)
    assert not is_settled([same, other], n_votes=3, n_ranked=3)
    assert not is_settled([same, (5, 2, 1)], n_votes=3, n_ranked=2)
    assert not is_settled([same, same], n_votes=4, n_ranked=3)
    assert not is_settled([same, same, other], n_votes=5, n_ranked=3)
    assert is_settled([same, (3, 2, 1)], n_votes=2, n_ranked=2)
    assert is_settled([same], n_votes=1, n_ranked=1)


@given(st.integers(1, 8), st.integers(2, 9), st.data())
def test_if_ballots_have_one_slot_no_later_vote_can_overturn_a_settled_one(slot, n_votes, data):
    n_cast = n_votes // 2 + 1
    assert is_settled([(slot,)] * n_cast, n_votes, 1)
    left = n_votes - n_cast
    rest = data.draw(st.lists(st.integers(1, 8), min_size=left, max_size=left))
    ballots = [(slot,)] * n_cast + [(other,) for other in rest]
    assert combine(ballots, TEXTS)[:1] == (slot,)


def test_points_decrease_with_the_rank_and_are_summed():
    ballots = [(1, 2, 3), (2, 3, 1), (2, 1, 4)]  # 1: 3+1+2, 2: 2+3+3, 3: 1+2, 4: 1
    assert combine(ballots, TEXTS) == (2, 1, 3, 4)


def test_equal_points_go_to_the_slot_that_more_ballots_name():
    ballots = [(1, 2), (3, 2)]  # 2 points each, and equal texts
    assert combine(ballots, TEXTS) == (2, 1, 3)


def test_the_offline_judge_breaks_the_remaining_ties():
    for texts in (TEXTS, TEXTS[::-1]):
        first, second = (slot for slot in choose(texts, len(texts)) if slot in (1, 2))
        assert combine([(1,), (2,)], texts) == combine([(2,), (1,)], texts) == (first, second)


@given(BALLOTS)
def test_the_order_of_the_ballots_does_not_matter(ballots):
    results = {combine(mixed, TEXTS) for mixed in permutations(ballots[:4])}
    assert len(results) == 1


@pytest.mark.slow
@settings(max_examples=200)
@given(BALLOTS, st.permutations(range(8)))
def test_the_same_texts_win_in_any_slots(ballots, places):
    """Item i of `places` is the former index of the text that is now in slot i + 1."""
    moved = [tuple(places.index(slot - 1) + 1 for slot in ballot) for ballot in ballots]
    texts = [TEXTS[i] for i in places]
    before = [TEXTS[slot - 1] for slot in combine(ballots, TEXTS)]
    assert [texts[slot - 1] for slot in combine(moved, texts)] == before


@given(BALLOTS)
def test_every_slot_that_a_ballot_names_has_one_rank(ballots):
    slots = combine(ballots, TEXTS)
    assert len(set(slots)) == len(slots)
    assert set(slots) == {slot for ballot in ballots for slot in ballot}


@given(BALLOTS, st.integers(0, 4))
def test_one_more_ballot_for_the_winner_keeps_it_the_winner(ballots, seed):
    winner = combine(ballots, TEXTS)[0]
    rest = [slot for slot in range(1, 9) if slot != winner]
    more = (winner, *rest[seed % 3 : seed % 3 + 2])
    assert combine([*ballots, more], TEXTS)[0] == winner


@given(BALLOTS.map(lambda ballots: ballots[:1]), st.integers(2, 5))
def test_identical_ballots_keep_their_order(ballots, n):
    assume(ballots)
    assert combine(ballots * n, TEXTS) == ballots[0]


def test_the_judge_score_decreases_from_1_by_rank():
    assert judge_scores((2, 1, 4), 4, 3) == pytest.approx([2 / 3, 1, 0, 1 / 3])
    assert judge_scores((3, 1, 2), 3, 1) == [0, 0, 1]


@given(BALLOTS, st.integers(1, 8))
def test_scores_are_from_0_to_1_and_0_outside_the_shortlist(ballots, shortlist):
    ranking = combine(ballots, TEXTS)
    scores = judge_scores(ranking, 8, shortlist)
    assert {slot for slot, score in enumerate(scores, 1) if score} == {*ranking[:shortlist]}
    assert 0 <= min(scores) <= max(scores) <= 1


@given(st.permutations(range(1, 9)), st.integers(1, 8), st.integers(1, 8))
def test_scores_do_not_depend_on_the_number_of_ranks_that_a_budget_requires(
    order, shortlist, n_more
):
    n_ranked = min(8, shortlist + n_more)
    assert judge_scores(order[:shortlist], 8, shortlist) == judge_scores(
        order[:n_ranked], 8, shortlist
    )
