"""The summary of the metrics: their intervals, ranks, averages over seeds, and curves."""

import numpy as np
import pytest

from tasks.measure.curves import curves, sizes
from tasks.measure.intervals import Bootstrap, Interval, Mean, Quantile, Whole, p_random
from tasks.measure.summary import Measured, group, overlap, summarise


@pytest.mark.slow
@pytest.mark.parametrize(
    ("draw", "figure", "truth"),
    [
        (lambda rng: rng.normal(3, 2, 60), Mean, 3.0),
        (lambda rng: rng.exponential(1, 150), Mean, 1.0),
        (lambda rng: rng.random(200), lambda x: Quantile(x, 0.95), 0.95),
    ],
    ids=["mean", "mean of a skewed kind", "p95"],
)
def test_bootstrap_intervals_cover_at_their_rate(draw, figure, truth):
    n_trials = 400
    rng = np.random.default_rng(7)
    intervals = [Bootstrap(200, i).interval(figure(draw(rng))) for i in range(n_trials)]
    rate = sum(low <= truth <= high for low, high in intervals) / n_trials
    # 95 %, less what the few resamples cost, plus or minus four standard errors of 400 trials
    assert 0.89 <= rate <= 0.99


def test_the_interval_of_a_mean_has_the_width_of_theory():
    values = np.random.default_rng(0).normal(0, 1, 2000)
    low, high = Bootstrap(2000, 0).interval(Mean(values))
    assert high - low == pytest.approx(2 * 1.96 / np.sqrt(2000), rel=0.1)


def test_a_figure_of_a_whole_selection_has_no_interval():
    assert Bootstrap(100, 0).interval(Whole(3.0)) is None


def test_a_quantile_is_one_of_the_values():
    assert Quantile(np.arange(1.0, 101.0), 0.95).value == 95
    assert Bootstrap(100, 0).interval(Quantile(np.full(9, 2.0), 0.95)) == Interval(2.0, 2.0)


def test_the_rank_among_random_selections_is_a_p_value():
    chance = np.arange(1.0, 20.0)
    assert p_random(0.5, chance, lower_is_better=True) == 1 / 20
    assert p_random(0.5, chance, lower_is_better=False) == 1
    for tie in (2.0, 2.0 - 1e-7, 2.0 + 1e-7):
        assert p_random(tie, chance, lower_is_better=True) == 3 / 20  # a tie is no win


def test_random_selections_are_significant_no_more_often_than_they_should_be():
    rng = np.random.default_rng(0)
    p_values = [p_random(x[0], x[1:], lower_is_better=True) for x in rng.random((4000, 21))]
    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(1 / 21, abs=0.014)


def made(method, seed, value, rows=(0, 1)):
    return Measured(method, seed, np.array(rows), {"words": {"vendi": Whole(value)}})


def test_several_seeds_are_averaged_and_ranked_among_random_selections():
    measured = [made("random", seed, float(seed)) for seed in range(20)]
    summary = summarise(
        group([*measured, made("best", 0, 30.0), made("poor", 0, 1.0)]), Bootstrap(100, 0)
    )
    assert summary["random"]["n_seeds"] == 20
    assert summary["random"]["words"]["vendi"] == {
        "value": 9.5, "interval": [0.475, 18.525], "p_random": None
    }  # fmt: skip
    assert summary["best"]["words"]["vendi"] == {
        "value": 30.0, "interval": None, "p_random": pytest.approx(1 / 21, abs=1e-6)
    }  # fmt: skip
    assert summary["poor"]["words"]["vendi"]["p_random"] == pytest.approx(20 / 21, abs=1e-6)


def test_a_selection_of_another_size_has_no_rank_among_random_ones():
    chance = [made("random", seed, value, rows=(1, 2)) for seed, value in enumerate([1.0, 2.0])]
    for rows, p in (((1,), None), ((1, 3), 0.333333)):
        summary = summarise(group([*chance, made("best", 0, 3.0, rows=rows)]), Bootstrap(100, 0))
        assert summary["best"]["words"]["vendi"]["p_random"] == p


def test_there_is_no_rank_without_random_selections():
    summary = summarise(group([made("best", 0, 3.0)]), Bootstrap(100, 0))
    assert summary["best"]["words"]["vendi"]["p_random"] is None


def test_overlap_is_the_jaccard_similarity_for_the_first_seed():
    document = overlap(
        group([made("a", 0, 0, (1, 2, 3)), made("a", 1, 0, (9,)), made("b", 0, 0, (3, 4))])
    )
    assert document == {"methods": ["a", "b"], "jaccard": [[1, 0.25], [0.25, 1]]}


def measured(method, seed, n, **figures):
    space = {name: Whole(value) for name, value in figures.items()}
    return Measured(method, seed, np.arange(n), {"words": space})


@pytest.mark.parametrize(
    ("budgets", "expected"),
    [((60,), [15, 30, 60]), ((1,), [1]), ((3,), [1, 2, 3]), ((5, 9), [5, 9])],
)
def test_a_single_budget_is_measured_in_parts_and_several_budgets_as_given(budgets, expected):
    assert sizes(budgets) == expected


def test_a_method_with_several_seeds_has_their_mean_and_middle_interval():
    runs = [measured("random", seed, 5, vendi=float(seed)) for seed in range(21)]
    document = curves({5: [measured("ours", 0, 5, vendi=2.5), *runs]})
    assert document["sizes"] == [5]
    assert document["methods"]["ours"] == {"words.vendi": [[2.5, None, None]]}
    assert document["methods"]["random"] == {"words.vendi": [[10.0, 0.5, 19.5]]}


def test_a_missing_figure_is_none_and_one_without_a_better_direction_is_left_out():
    small = [measured("ours", 0, 1, vendi=1.0, length_shift=0.5)]
    large = [measured("ours", 0, 4, vendi=3.0, redundancy=0.1)]
    document = curves({1: small, 4: large})["methods"]["ours"]
    assert document == {
        "words.vendi": [[1.0, None, None], [3.0, None, None]],
        "words.redundancy": [None, [0.1, None, None]],
    }
