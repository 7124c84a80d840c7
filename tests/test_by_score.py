"""Selections by a score."""

import numpy as np

from tasks.baseline import by_score

SCORES = np.array([3.0, np.nan, 1.0, 5.0, 2.0, 4.0])


def test_the_highest_and_the_lowest_come_first_and_a_record_without_a_score_last():
    assert by_score.highest(SCORES, 6, 0).tolist() == [3, 5, 0, 4, 2, 1]
    assert by_score.lowest(SCORES, 6, 0).tolist() == [2, 4, 0, 5, 3, 1]


def test_the_middle_is_by_rank_and_not_by_value():
    skewed = SCORES**9
    for seed in range(5):
        order = by_score.middle(skewed, 6, seed).tolist()
        assert order[0] == 0
        assert {*order[1:3]} == {4, 5}
        assert order[5] == 1


def test_ties_are_in_an_order_drawn_with_the_seed():
    equal = np.zeros(50)
    drawn = [by_score.highest(equal, 10, seed).tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_records_that_reach_the_threshold_come_before_the_next_highest():
    scores = np.array([5.0, 4.5, 1.0, 4.0, 5.0, 4.5, np.nan])
    orders = {tuple(by_score.reaching(4.5, scores, 7, seed)) for seed in range(30)}
    assert len(orders) > 1
    for order in orders:
        assert {*order[:4]} == {0, 1, 4, 5}
        assert order[4:] == (3, 2, 6)
    assert by_score.reaching(4.5, scores, 2, 3).tolist() == list(
        by_score.reaching(4.5, scores, 7, 3)[:2]
    )
