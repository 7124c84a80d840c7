import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.baseline import (
    by_coverage,
    by_density,
    by_quality_and_diversity,
    by_text,
    by_vector,
    in_prompts,
)
from tasks.baseline.by_score import Score
from tasks.baseline.methods import METHODS, BaselinePool, MethodName, selections
from tasks.lib.prompts.prompt_size import Geometry, Mode
from tasks.lib.similarity.novelty import densities
from tasks.lib.typicality.typicality import choose
from tests.pools import on_circle, pool_of, unit_vectors

IN_PROMPTS = [name for name, method in METHODS.items() if method.in_prompts]
RANDOM = [name for name, method in METHODS.items() if method.is_random]
SCORED = [name for name, method in METHODS.items() if method.score]

# All methods


@pytest.mark.parametrize("method", MethodName)
@given(st.data())
@settings(max_examples=15)
def test_each_selection_has_exactly_budget_distinct_records(method, data):
    n = data.draw(st.integers(1, 30))
    budget = data.draw(st.integers(1, n))
    n_distinct = data.draw(st.integers(1, n))  # equal vectors are where a method may run short
    modes = (Mode.WITHIN,) if method in IN_PROMPTS else ()  # they take most of the time
    pool = pool_of(unit_vectors(n)[np.arange(n) % n_distinct], modes=modes)
    selected = list(selections(method, pool, budget, seed=1, n_seeds=2))
    assert len(selected) == (2 if method in RANDOM else 1)
    for selection in selected:
        assert len(selection.rows) == len(set(selection.rows.tolist())) == budget
        assert set(selection.rows.tolist()) <= set(range(n))


@pytest.mark.parametrize("method", sorted(set(MethodName) - {MethodName.MEDOIDS}))
def test_the_selection_for_a_smaller_budget_is_a_prefix(method):
    pool = pool_of(unit_vectors(40))
    small, large = (
        [selection.rows for selection in selections(method, pool, budget, 0, 2)]
        for budget in (12, 25)
    )
    assert [rows[:12].tolist() for rows in large] == [rows.tolist() for rows in small]


@pytest.mark.parametrize("method", RANDOM)
def test_random_selections_differ_between_seeds_but_not_between_runs(method):
    pool = pool_of(unit_vectors(40))
    first, again = (list(selections(method, pool, 10, 0, 4)) for _ in range(2))
    assert [c.rows.tolist() for c in first] == [c.rows.tolist() for c in again]
    assert len({tuple(c.rows.tolist()) for c in first}) == 4
    assert [c.seed for c in first] == [0, 1, 2, 3]


def test_a_method_that_is_too_slow_for_the_pool_selects_nothing():
    pool = BaselinePool(["text"] * 100_001, np.zeros((100_001, 2), np.float32), {})
    assert list(selections(MethodName.CBS, pool, 5, 0, 1)) == []
    assert len(list(selections(MethodName.RANDOM, pool, 5, 0, 1))) == 1


# By text


def test_the_shortest_and_the_longest_are_taken_by_characters_and_ties_by_row():
    texts = ["four", "a", "twelve signs", "b", "seven c"]
    assert by_text.by_length(texts, 3, longest=False).tolist() == [1, 3, 0]
    assert by_text.by_length(texts, 3, longest=True).tolist() == [2, 4, 0]


def test_rouge_diversity_starts_with_the_text_least_like_the_others():
    texts = ["name the capital of Peru", "name the capital of Chile", "boil an egg", "write a poem"]
    texts += ["name the capital of Spain", "name a capital"]
    chosen = by_text.rouge_diversity(texts, 6, seed=0).tolist()
    # Four have at least the word "a" in common with another; only the egg shares nothing.
    assert chosen[0] == 2
    assert set(chosen[-3:]) == {0, 1, 4}


def test_rouge_diversity_reads_instructions_that_have_no_input():
    """The authors' code reads them as empty, so all tie and the order of the file decides."""
    alike = [f"name the capital of country {i}" for i in range(20)]
    texts = [*alike, "boil one egg", "why do cats purr"]
    assert set(by_text.rouge_diversity(texts, 2, seed=0).tolist()) == {20, 21}


def test_rouge_diversity_does_not_compare_a_text_with_itself():
    texts = ["one two three", "four five six", "seven eight nine", "one two three four"]
    assert set(by_text.rouge_diversity(texts, 2, seed=0).tolist()) == {1, 2}


# By vector


def test_k_center_starts_in_the_middle_and_continues_with_the_farthest():
    vectors = on_circle(0, 10, 20, 30, 90)
    assert by_vector.k_center(vectors, 3).tolist() == [3, 4, 0]


@given(st.integers(2, 9), st.integers(1, 4), st.integers(0, 1000))
@settings(max_examples=30)
def test_the_radius_of_k_center_is_at_most_twice_the_smallest(n, budget, seed):
    vectors, budget = unit_vectors(n, seed, d=3), min(n, budget)
    far = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)

    def radius(rows):
        return far[:, list(rows)].min(axis=1).max()

    least = min(radius(rows) for rows in itertools.combinations(range(n), budget))
    assert radius(by_vector.k_center(vectors, budget)) <= 2 * least + 1e-5


@given(st.integers(4, 9), st.integers(1, 4), st.integers(0, 1000))
@settings(max_examples=30)
def test_facility_location_is_close_to_the_optimum(n, budget, seed):
    vectors = unit_vectors(n, seed, d=3)
    cosines = np.maximum(vectors @ vectors.T, 0)

    def value(rows):
        return cosines[:, list(rows)].max(axis=1).sum()

    best = max(value(rows) for rows in itertools.combinations(range(n), budget))
    # In a pool this small every record is tried, so the bound of plain greedy holds.
    assert value(by_coverage.facility_location(vectors, budget, seed)) >= (1 - 1 / np.e) * best


def test_facility_location_prefers_the_middle_of_a_cluster_to_a_lone_record():
    vectors = on_circle(0, 5, 10, 15, 20, 180)
    assert by_coverage.facility_location(vectors, 2, seed=0).tolist() == [2, 5]


def test_whitening_spreads_the_vectors_equally_in_every_direction():
    flat = unit_vectors(300, d=5) * np.array([1, 1, 1, 0.2, 0], np.float32) + np.float32(0.5)
    white = by_coverage.whitened(flat)
    assert white.shape == (300, 4)
    assert np.linalg.norm(white, axis=1) == pytest.approx(np.ones(300), abs=1e-5)
    spread = np.cov(white.T)
    assert np.diag(spread).max() < 1.3 * np.diag(spread).min()
    assert np.abs(spread - np.diag(np.diag(spread))).max() < 0.05
    equal = np.tile(unit_vectors(1), (4, 1))
    assert by_coverage.whitened(equal).tolist() == equal.tolist()


def test_qdit_adds_the_judge_score_to_what_a_record_covers():
    vectors, budget = unit_vectors(12, 3, d=3), 4
    scores = np.random.default_rng(0).random(12)
    cosines = np.maximum(vectors @ vectors.T, 0)
    best, expected = np.zeros(12), []
    for _ in range(budget):
        values = 0.5 * np.maximum(cosines - best, 0).sum(axis=1) + 0.5 * scores
        values[expected] = -1
        expected.append(int(values.argmax()))
        best = np.maximum(best, cosines[expected[-1]])
    assert by_quality_and_diversity.qdit(vectors, scores, budget, seed=0).tolist() == expected


def test_deita_takes_the_highest_scores_and_skips_similar_records():
    vectors = on_circle(0, 5, 90, 180)  # the first two have a cosine of 0.996
    scores = np.array([0.9, 1.0, 0.5, np.nan])
    assert by_quality_and_diversity.deita(vectors, scores, 2, seed=0).tolist() == [1, 2]
    assert by_quality_and_diversity.deita(vectors, scores, 4, seed=0).tolist() == [1, 2, 3, 0]


def novelty(vectors, row, others, factors):
    """Return the novelty of a record relative to others, by the definition."""
    gaps = {j: max(0, 1 - float(vectors[row] @ vectors[j])) for j in others}
    ranked = sorted((factors[row] + factors[j]) * gap for j, gap in gaps.items())
    return sum(distance / rank for rank, distance in enumerate(ranked, 1))


@given(st.integers(3, 14), st.integers(0, 1000))
@settings(max_examples=20)
def test_novelselect_takes_the_most_novel_record_each_time(n, seed):
    vectors = unit_vectors(n, seed, d=4).astype(np.float32)
    factors = densities(vectors, vectors)
    rows = by_coverage.novelselect(vectors, n - 1, seed).tolist()
    for i in range(1, n - 1):
        values = {
            row: novelty(vectors, row, rows[:i], factors) for row in range(n) if row not in rows[:i]
        }
        assert values[rows[i]] >= max(values.values()) - 1e-4


def test_medoids_are_one_record_per_cluster_largest_cluster_first():
    vectors = on_circle(0, 2, 4, 120, 121, 122, 123, 124, 240, 242)
    assert by_density.medoids(vectors, 3, seed=0).tolist()[:2] == [5, 1]
    assert by_density.medoids(vectors, 3, seed=0)[2] in (8, 9)


def test_cluster_based_selection_takes_noise_last():
    clusters = [on_circle(*(start + np.random.default_rng(start).random(10))) for start in (0, 90)]
    vectors = np.concatenate([*clusters, on_circle(200)])
    noise, _ = by_density._cluster(vectors, seed=0)
    assert noise[20]
    chosen = by_density.cluster_based(vectors, 21, seed=0)
    assert noise[chosen].tolist() == sorted(noise.tolist())
    assert 20 in by_vector.k_center(vectors, 2)  # which k-center alone would take at once


# By score


def test_methods_by_a_score_take_the_end_in_their_name():
    pool = pool_of(unit_vectors(5))._replace(
        scores={
            Score.PERPLEXITY: np.array([3.0, 9.0, 1.0, np.nan, 4.0]),
            Score.OPENNESS: np.array([0.1, 0.2, np.nan, 0.9, 0.3]),
            Score.RATING: np.array([4.0, 4.5, np.nan, 3.0, 5.0]),
        }
    )
    scored = [name for name in SCORED if METHODS[name].score is not Score.JUDGE]
    rows = {method: next(selections(method, pool, 2, 0, 1)).rows.tolist() for method in scored}
    assert sorted(rows.pop(MethodName.PERPLEXITY_MID)) == [0, 4]
    assert sorted(rows.pop(MethodName.ALPAGASUS_THRESHOLD)) == [1, 4]
    assert rows == {
        MethodName.PERPLEXITY_LOW: [2, 0],
        MethodName.PERPLEXITY_HIGH: [1, 4],
        MethodName.OPENNESS: [3, 4],
        MethodName.ALPAGASUS: [4, 1],
    }


# In prompts


@pytest.mark.parametrize("method", IN_PROMPTS)
def test_each_prompt_gives_the_same_number_as_for_a_model(method):
    pool = pool_of(unit_vectors(40), size=10)
    selection = next(selections(method, pool, 10, 0, 1))
    counts = [
        len(set(selection.rows.tolist()) & set(p.tolist())) for p in pool.prompts[Mode.WITHIN]
    ]
    assert sorted(counts) == [2, 2, 3, 3]
    assert selection.method == f"{method.value.split('_')[0]}_within"


def test_the_offline_judge_takes_the_best_of_each_prompt():
    texts = ["x", "Explain in three steps why the sky is blue.", "?", "Name 2 rivers, and say why."]
    prompts = [np.array([0, 1]), np.array([2, 3])]
    assert set(in_prompts.by_typicality(prompts, texts, 2, seed=0).tolist()) == {1, 3}
    first = in_prompts.by_typicality([np.arange(4)], texts, 4, seed=0)
    assert first.tolist() == [slot - 1 for slot in choose(texts, 4)]


@pytest.mark.parametrize("mode", [Mode.WITHIN, Mode.ACROSS])
def test_regrouping_puts_each_record_in_one_prompt(mode):
    prompts = in_prompts.regroup(unit_vectors(23), ["a"] * 23, Geometry(5, 5), mode, seed=0)
    assert sorted(np.concatenate(prompts).tolist()) == list(range(23))
    assert sorted(map(len, prompts)) == [4, 4, 5, 5, 5]
