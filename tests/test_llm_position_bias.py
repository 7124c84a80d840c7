"""The summaries of position bias and agreement for judges with a known bias."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tasks.llm_select.position_bias import PositionBias
from tasks.llm_select.vote_agreement import Agreement


def bias_of(choices: list[tuple[int, int]]) -> dict:
    bias = PositionBias()
    for n_candidates, slot in choices:
        bias.add(n_candidates, [slot])
    return bias.summary()


def at_random(sizes: list[int], rng: np.random.Generator) -> list[tuple[int, int]]:
    return [
        (n, int(slot)) for n, slot in zip(sizes, rng.integers(1, np.add(sizes, 1)), strict=True)
    ]


def test_the_summary_has_its_known_values_for_prompts_of_one_size():
    """Pearson's own form: (8² + 2² + 10²) / 20 = 8.4 on 2 degrees of freedom, p = exp(-4.2)."""
    summary = bias_of([(3, 1)] * 28 + [(3, 2)] * 22 + [(3, 3)] * 10)
    assert summary["observed"] == [28, 22, 10]
    assert summary["expected"] == [20, 20, 20]
    assert summary["chi_square"] == pytest.approx(8.4)
    assert summary["df"] == 2
    assert summary["p_value"] == pytest.approx(np.exp(-4.2), abs=1e-6)
    assert summary["position_bias"] == pytest.approx(10 / 60, abs=1e-6)


@given(st.lists(st.integers(0, 30), min_size=3, max_size=9).filter(lambda c: sum(c) >= 5 * len(c)))
def test_prompts_of_one_size_give_the_usual_chi_square(counts):
    choices = [(len(counts), slot) for slot, n in enumerate(counts, 1) for _ in range(n)]
    known = stats.chisquare(counts)
    summary = bias_of(choices)
    assert summary["chi_square"] == pytest.approx(known.statistic, abs=1e-5)
    assert summary["p_value"] == pytest.approx(known.pvalue, abs=1e-5)


def test_expected_counts_respect_the_sizes_of_prompts():
    summary = bias_of([(2, 1)] * 10 + [(4, 1)] * 8)
    assert summary["expected"] == [7, 7, 2, 2]


def test_a_judge_that_always_picks_one_slot_has_the_greatest_bias():
    summary = bias_of([(14, 3)] * 200)
    assert summary["position_bias"] == pytest.approx(13 / 14, abs=1e-6)
    assert summary["position_bias_by_chance"] < 0.12
    assert summary["p_value"] < 1e-6


def test_a_judge_that_picks_all_slots_equally_often_has_no_bias():
    summary = bias_of([(5, slot) for slot in range(1, 6)] * 20)
    assert summary["position_bias"] == 0
    assert summary["chi_square"] == 0
    assert summary["p_value"] == 1


@pytest.mark.parametrize(
    "sizes", [[14] * 300, [14] * 60 + [13] * 40, [13] * 299 + [14], [5] * 50 + [9] * 100]
)
def test_a_judge_blind_to_slots_fails_a_test_at_5_percent_in_about_5_percent_of_runs(sizes):
    rng = np.random.default_rng(0)
    summaries = [bias_of(at_random(sizes, rng)) for _ in range(600)]
    n_failed = sum(summary["p_value"] < 0.05 for summary in summaries)
    assert 0.025 < n_failed / 600 < 0.08  # three standard errors around 5 %
    shown = np.mean([summary["position_bias"] for summary in summaries])
    assert shown == pytest.approx(summaries[0]["position_bias_by_chance"], rel=0.05)


def test_a_slight_preference_for_the_first_slot_is_detected_in_many_prompts():
    rng = np.random.default_rng(1)
    sizes = [14] * 1000
    choices = [(n, 1 if rng.random() < 0.1 else slot) for n, slot in at_random(sizes, rng)]
    assert bias_of(choices)["p_value"] < 0.001


def test_only_the_first_choice_counts():
    one, more = PositionBias(), PositionBias()
    one.add(6, [4])
    more.add(6, [4, 1, 2])
    assert one.summary() == more.summary()


@pytest.mark.parametrize("choices", [[], [(14, 2)] * 3, [(1, 1)] * 50])
def test_too_few_prompts_give_no_test(choices):
    summary = bias_of(choices)
    assert summary["chi_square"] is summary["df"] is summary["p_value"] is None


def test_without_ballots_the_summaries_are_empty():
    empty = PositionBias()
    empty.add(5, [])
    assert empty.summary() == PositionBias().summary()
    assert empty.summary()["n_prompts"] == 0
    assert empty.summary()["position_bias"] is None
    assert Agreement(3).summary() == dict.fromkeys(["same_first", "by_chance", "kappa"]) | {
        "n_prompts": 0
    }


@given(st.lists(st.integers(1, 20).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n)))))
def test_any_run_has_a_summary_of_finite_numbers_within_their_ranges(choices):
    summary = bias_of(choices)
    json.dumps(summary, allow_nan=False)
    assert sum(summary["observed"]) == summary["n_prompts"]
    assert sum(summary["expected"]) == pytest.approx(summary["n_prompts"], abs=1e-4)
    if summary["n_prompts"]:
        assert 0 <= summary["position_bias"] < 1
    if summary["df"]:
        assert summary["chi_square"] >= 0
        assert 0 <= summary["p_value"] <= 1


def test_agreement_has_its_known_values():
    """Prompt 1: one of three pairs agrees; prompt 2: all do. Chance is 1/5 and 1/4."""
    agreement = Agreement(n_votes=5)
    agreement.add(5, [(1, 2), (1, 3), (2, 1)])
    agreement.add(4, [(3,), (3,), (3,)])
    assert agreement.summary() == {
        "n_prompts": 2,
        "same_first": pytest.approx(2 / 3, abs=1e-6),
        "by_chance": pytest.approx(0.225),
        "kappa": pytest.approx((2 / 3 - 0.225) / (1 - 0.225), abs=1e-6),
    }


def test_votes_that_were_cast_only_after_disagreement_are_not_counted():
    asked_on, settled = Agreement(n_votes=3), Agreement(n_votes=3)
    asked_on.add(9, [(1,), (2,), (2,)])
    settled.add(9, [(1,), (2,)])
    assert asked_on.summary() == settled.summary()
    assert asked_on.summary()["same_first"] == 0


def test_a_prompt_with_one_vote_or_one_candidate_does_not_count_for_agreement():
    agreement = Agreement(n_votes=3)
    agreement.add(9, [(1,)])
    agreement.add(9, [])
    agreement.add(1, [(1,), (1,)])
    assert agreement.summary()["n_prompts"] == 0


def test_votes_of_a_judge_of_slots_agree_less_than_chance_and_random_votes_agree_by_chance():
    rng = np.random.default_rng(0)
    by_slot, random_judge = Agreement(n_votes=2), Agreement(n_votes=2)
    for _ in range(4000):
        by_slot.add(10, [(1,), (6,)])  # the same slot in two orders holds two candidates
        a, b = rng.integers(1, 11, size=2)
        random_judge.add(10, [(int(a),), (int(b),)])
    assert by_slot.summary()["kappa"] == pytest.approx(-1 / 9, abs=1e-6)
    assert abs(random_judge.summary()["kappa"]) < 0.02
