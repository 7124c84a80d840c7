import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.lib.coverage.greedy import greedy, judge_bonus
from tests.pools import on_circle, unit_vectors


def value(vectors, rows, weights=None, annotated=()):
    """Return the coverage of a selection by its definition."""
    cosines = np.maximum(vectors @ vectors[[*rows, *annotated]].T, 0).max(axis=1)
    return float(cosines @ (np.ones(len(vectors)) if weights is None else weights))


@st.composite
def cases(draw):
    n = draw(st.integers(4, 9))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    vectors = unit_vectors(n, int(rng.integers(1000)), d=3)
    candidates = np.sort(rng.permutation(n)[: draw(st.integers(3, n))])
    free = [row for row in range(n) if row not in candidates]
    return {
        "vectors": vectors,
        "candidates": candidates,
        "n": draw(st.integers(1, 3)),
        "bonus": draw(st.sampled_from([0, 0.2, 2])) * rng.random(len(candidates)),
        "weights": rng.random(n) if draw(st.booleans()) else np.ones(n),
        "annotated": np.array(free[: draw(st.integers(0, 2))], np.intp),
    }


@given(cases())
@settings(max_examples=150, deadline=None)
def test_the_greedy_reaches_its_guarantee(case):
    rows, _ = greedy(**case)
    bonus = dict(zip(case["candidates"].tolist(), case["bonus"].tolist(), strict=True))

    def objective(rows):
        return value(case["vectors"], rows, case["weights"], case["annotated"]) + sum(
            bonus[row] for row in rows
        )

    start = (
        value(case["vectors"], [], case["weights"], case["annotated"])
        if len(case["annotated"])
        else 0
    )
    best = max(
        objective(rows) for rows in itertools.combinations(case["candidates"].tolist(), case["n"])
    )
    assert objective(rows.tolist()) - start >= (1 - 1 / np.e) * (best - start) - 1e-5


@given(cases())
@settings(max_examples=100, deadline=None)
def test_it_selects_exactly_n_distinct_candidates_and_never_an_annotated_record(case):
    rows, gains = greedy(**case)
    assert len(rows) == len(gains) == len(set(rows.tolist())) == case["n"]
    assert set(rows.tolist()) <= set(case["candidates"].tolist()) - set(case["annotated"].tolist())


@given(cases())
@settings(max_examples=100, deadline=None)
def test_a_smaller_selection_is_a_prefix_of_a_larger_one(case):
    large = greedy(**case)
    small = greedy(**case | {"n": 1})
    assert small.rows.tolist() == large.rows[:1].tolist()
    assert small.gains.tolist() == large.gains[:1].tolist()


@given(cases())
@settings(max_examples=100, deadline=None)
def test_gains_add_up_to_the_mean_coverage_and_never_grow_when_no_bonus_steers(case):
    case["bonus"] = None
    rows, gains = greedy(**case)
    before = (
        value(case["vectors"], [], case["weights"], case["annotated"])
        if len(case["annotated"])
        else 0
    )
    after = value(case["vectors"], rows.tolist(), case["weights"], case["annotated"])
    assert np.isclose(gains.sum() * case["weights"].sum(), after - before, atol=1e-5)
    assert (gains >= 0).all()
    assert (np.diff(gains) <= 1e-6).all()


def test_ties_go_to_the_lower_row_whatever_the_order_of_the_candidates():
    vectors = np.repeat(on_circle(0, 90, 180), 3, axis=0)
    for order in ([8, 5, 2, 7, 4, 1, 6, 3, 0], range(9)):
        assert sorted(greedy(vectors, np.array(order), 3).rows.tolist()) == [0, 3, 6]


def test_the_middle_of_a_cluster_comes_before_a_lone_record():
    vectors = on_circle(0, 5, 10, 15, 20, 180)
    assert greedy(vectors, np.arange(6), 2).rows.tolist() == [2, 5]


def test_what_an_annotated_record_covers_is_not_covered_again():
    vectors = on_circle(0, 5, 10, 15, 20, 180)
    rows = greedy(vectors, np.array([0, 1, 3, 4, 5]), 1, annotated=np.array([2])).rows
    assert rows.tolist() == [5]


def test_a_row_that_weighs_nothing_needs_no_cover():
    vectors = on_circle(0, 5, 10, 15, 20, 180)
    weights = np.array([0, 0, 0, 0, 0, 1.0])
    assert greedy(vectors, np.arange(6), 1, weights=weights).rows.tolist() == [5]


def test_a_large_bonus_decides_alone():
    vectors = unit_vectors(20)
    bonus = np.arange(20) * 100.0
    assert greedy(vectors, np.arange(20), 3, bonus=bonus).rows.tolist() == [19, 18, 17]


def test_the_judge_bonus_grows_with_score_and_weight_alone():
    vectors = unit_vectors(20)
    scores = np.linspace(0, 1, 20)
    bonus = judge_bonus(scores, 1.0, vectors, 4)
    assert bonus[0] == 0
    assert (np.diff(bonus) > 0).all()
    assert np.allclose(judge_bonus(scores, 0.5, vectors, 4), bonus / 2)
