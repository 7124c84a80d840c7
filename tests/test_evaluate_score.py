"""The figures of an evaluation: their intervals, win rates, verdicts and page."""

import numpy as np
import pytest
from scipy.optimize import minimize

from flows.cli import show_evaluation
from tasks.evaluate.score.bootstrap import NestedBootstrap, Ratio
from tasks.evaluate.score.page import page
from tasks.evaluate.score.win_rate import duel, length_controlled, wins
from tasks.lib.documents.evaluation import Evaluation
from tests.evaluation import result


def test_a_figure_is_the_ratio_of_sums_and_its_interval_contains_it():
    rng = np.random.default_rng(0)
    sums, sizes = rng.gamma(2, 10, (3, 400)), rng.integers(1, 20, 400).astype(float)
    figure = Ratio("a", sums, sizes)
    assert figure.value == pytest.approx(sums.sum() / (3 * sizes.sum()))
    estimate = NestedBootstrap(400, 500, 0).estimate(figure)
    assert estimate.low < estimate.value < estimate.high
    assert NestedBootstrap(400, 500, 0).estimate(figure) == estimate
    assert NestedBootstrap(400, 500, 1).estimate(figure) != estimate


def test_the_interval_of_a_mean_agrees_with_theory():
    values = np.random.default_rng(1).normal(5, 2, (1, 900))
    estimate = NestedBootstrap(900, 2000, 0).estimate(Ratio("a", values, np.ones(900)))
    standard_error = values.std(ddof=1) / 30
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * standard_error, rel=0.08)


def test_a_difference_is_paired_by_record_and_gains_from_it():
    hardness = np.random.default_rng(2).normal(0, 10, (1, 500))
    ones = np.ones(500)
    a, b = Ratio("a", hardness - 0.1, ones), Ratio("b", hardness, ones)
    difference = NestedBootstrap(500, 500, 0).difference(a, b)
    assert (difference.value, difference.low, difference.high) == pytest.approx((-0.1,) * 3)
    assert difference.visible == pytest.approx(0, abs=1e-9)


def test_seeds_that_disagree_widen_the_interval():
    agreeing = np.zeros((4, 300)) + 1.0
    disagreeing = agreeing + np.array([[-0.5], [0.5], [-0.5], [0.5]])
    widths = []
    for sums in (agreeing, disagreeing):
        found = NestedBootstrap(300, 500, 0).estimate(Ratio("a", sums, np.ones(300)))
        widths.append(found.high - found.low)
    assert widths[0] == pytest.approx(0)
    assert widths[1] > 0.5


@pytest.mark.parametrize("n_seeds", [2, 3, 10])
def test_the_spread_of_few_seeds_is_not_underestimated(n_seeds):
    by_seed = np.linspace(-1, 1, n_seeds)[:, None] * np.ones(50)
    draws = NestedBootstrap(50, 4000, 0).draws(Ratio("a", by_seed, np.ones(50)))
    expected = by_seed[:, 0].std(ddof=1) / n_seeds**0.5
    assert draws.std() == pytest.approx(expected, rel=0.05)


def test_a_difference_that_is_not_there_is_found_in_about_one_in_twenty_cases():
    rng = np.random.default_rng(3)
    found = 0
    for seed in range(200):
        a, b = (Ratio(name, rng.normal(0, 1, (1, 100)), np.ones(100)) for name in "ab")
        difference = NestedBootstrap(100, 200, seed).difference(a, b)
        found += not difference.low <= 0 <= difference.high
    assert 2 <= found <= 24  # 10 expected


def made_up_duels(n, at_equal_length, for_length, seed=0):
    """Return wins and length differences of a known model."""
    rng = np.random.default_rng(seed)
    longer_by = rng.normal(0.5, 1.0, n)
    logits = at_equal_length + for_length * np.tanh(longer_by / longer_by.std(ddof=1))
    return (rng.random(n) < 1 / (1 + np.exp(-logits))).astype(float), longer_by


def fitted_by_scipy(won, longer_by, weights):
    """Return the length-controlled win rate by scipy's minimizer."""
    scaled = np.tanh(longer_by / longer_by.std(ddof=1))

    def loss(theta):
        logits = theta[0] + theta[1] * scaled
        return (weights * (np.logaddexp(0, logits) - won * logits)).sum()

    return 1 / (1 + np.exp(-minimize(loss, np.zeros(2)).x[0]))


@pytest.mark.parametrize("n", [40, 300, 2000])
@pytest.mark.parametrize(("at_equal_length", "for_length"), [(0, 0), (-0.3, 1.5), (0.8, -1)])
def test_the_length_controlled_win_rate_is_the_fit_of_maximum_likelihood(
    n, at_equal_length, for_length
):
    won, longer_by = made_up_duels(n, at_equal_length, for_length)
    won[:5] = 0.5  # ties
    weights = np.random.default_rng(1).integers(0, 4, n).astype(float)
    for counts in (np.ones(n), weights):
        ours = length_controlled(won, longer_by, counts)
        assert ours == pytest.approx(fitted_by_scipy(won, longer_by, counts), abs=1e-3)


def test_the_length_controlled_win_rate_finds_the_known_value_where_the_raw_one_does_not():
    won, longer_by = made_up_duels(20_000, at_equal_length=-0.3, for_length=1.5)
    assert length_controlled(won, longer_by) == pytest.approx(1 / (1 + np.exp(0.3)), abs=0.012)
    assert won.mean() > 0.5


def test_the_length_controlled_win_rate_of_the_rival_is_the_rest():
    won, longer_by = made_up_duels(300, 0.4, 1.0)
    ours, theirs = length_controlled(won, longer_by), length_controlled(1 - won, -longer_by)
    assert ours + theirs == pytest.approx(1)


@pytest.mark.parametrize(("won", "rate"), [(1.0, 1.0), (0.5, 0.5), (0.0, 0.0)])
def test_the_length_controlled_win_rate_is_finite_without_a_single_loss_or_length(won, rate):
    for longer_by in (np.arange(30.0), np.zeros(30)):
        found = length_controlled(np.full(30, won), longer_by)
        assert found == pytest.approx(rate, abs=0.01)


def test_models_with_other_numbers_of_seeds_meet_in_turn_and_a_tie_counts_half():
    ours, theirs = np.array([[1.0, 2.0, 3.0]]), np.array([[0.0, 2.0, 4.0], [2.0, 2.0, 2.0]])
    assert wins(ours, theirs).tolist() == [[1, 0.5, 0], [0, 0.5, 1]]


def test_the_interval_of_a_win_rate_stays_between_never_and_always():
    won = np.array([[1.0] * 10, [0.0] * 10])
    rate = duel("a", won, NestedBootstrap(10, 200, 0)).win_rate
    assert (rate.low, rate.value, rate.high) == (0, 0.5, 1)


@pytest.mark.parametrize(
    ("losses", "verdict"),
    [
        ([3.0, 3.0, 3.0], "better than random"),
        ([5.0, 5.0, 5.0], "worse than random"),
        ([3.0, 4.0, 5.0], "no different from random"),
    ],
)
def test_the_verdict_follows_from_the_interval_of_the_difference(losses, verdict):
    random, selection = result(losses).arms
    assert (random.verdict(), selection.verdict()) == ("", verdict)
    assert selection.figures["loss"].value == pytest.approx(sum(losses) / 6)


def test_with_one_seed_the_verdict_the_page_and_the_terminal_say_so():
    one, two = (result([3.0, 3.0, 3.0], seeds=seeds) for seeds in ((0,), (0, 1)))
    assert one.verdict(one.arms[1]) == "better than random with this seed"
    assert two.verdict(two.arms[1]) == "better than random"
    assert one.verdict(one.arms[0]) == ""
    assert "other seeds may give another verdict" in page(one)
    assert "other seeds" not in page(two)
    said = [list(show_evaluation.sentences(found)) for found in (one, two)]
    assert [len(sentences) for sentences in said] == [2, 1]
    assert said[1][0].startswith("selection: better than random by held-out loss, -0.5000 nats")


def test_the_result_has_the_numbers_of_each_arm_and_the_figures_of_its_answers():
    random, selection = result([3.0, 3.0, 3.0]).arms
    assert (selection.n_seeds, selection.n_records, selection.n_steps) == (2, 5, 3)
    assert random.figures["rouge_l"].value == pytest.approx((1 + 2 / 3) / 2)
    assert random.figures["words"].value == 2
    assert random.figures["stopped"].value == 1
    assert selection.differences["rouge_l"].value == 0
    assert selection.duels["loss"].win_rate.value == 1
    assert selection.duels["rouge_l"].length_controlled.value == pytest.approx(0.5)
    assert random.duels == {}


def test_an_evaluation_may_have_losses_only(tmp_path):
    found = result([3.0, 3.0, 3.0], n_answers=0)
    assert set(found.arms[0].figures) == {"loss"}
    path = tmp_path / "result.json"
    found.write(path)
    assert Evaluation.read(path) == found
    assert "own answers" not in page(found)


def test_the_page_shows_every_arm_and_escapes_the_name_of_the_model():
    text = page(result([3.0, 3.0, 3.0]))
    assert "better than random" in text
    assert "m&lt;b&gt;" in text
    assert "m<b>" not in text
    assert text.count("<tr><td>") == 4
