import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.lib.coverage import greedy as greedy_module
from tasks.lib.coverage.greedy import greedy, judge_unit
from tasks.lib.coverage.quotas import Quota, Shortage, UnmetQuotaError
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
def test_the_greedy_search_reaches_its_guarantee(case):
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
def test_it_selects_exactly_n_distinct_candidates_and_never_an_annotated_record(case):
    rows, gains = greedy(**case)
    assert len(rows) == len(gains) == len(set(rows.tolist())) == case["n"]
    assert set(rows.tolist()) <= set(case["candidates"].tolist()) - set(case["annotated"].tolist())


@pytest.mark.slow
@given(cases())
def test_a_smaller_selection_is_a_prefix_of_a_larger_one(case):
    large = greedy(**case)
    small = greedy(**case | {"n": 1})
    assert small.rows.tolist() == large.rows[:1].tolist()
    assert small.gains.tolist() == large.gains[:1].tolist()


@given(cases())
def test_without_a_bonus_gains_never_grow_and_sum_to_the_mean_coverage(case):
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


def test_a_row_with_weight_zero_is_not_covered():
    vectors = on_circle(0, 5, 10, 15, 20, 180)
    weights = np.array([0, 0, 0, 0, 0, 1.0])
    assert greedy(vectors, np.arange(6), 1, weights=weights).rows.tolist() == [5]


def test_a_large_bonus_decides_alone():
    vectors = unit_vectors(20)
    bonus = np.arange(20) * 100.0
    assert greedy(vectors, np.arange(20), 3, bonus=bonus).rows.tolist() == [19, 18, 17]


def test_a_selection_of_zero_records_is_empty():
    assert greedy(unit_vectors(5), np.arange(5), 0).rows.tolist() == []


def test_the_unit_of_the_bonus_hardly_depends_on_the_size_of_the_pool():
    units = []
    for n in (1000, 4000):
        vectors = unit_vectors(n, d=16, n_blobs=20)
        units.append(judge_unit(vectors, n // 10))
    assert 0.7 < units[1] / units[0] < 1.4


def test_a_large_pool_is_measured_on_a_sample_and_still_covered_everywhere(monkeypatch):
    monkeypatch.setattr(greedy_module, "MAX_COVERED", 50)
    vectors = np.repeat(on_circle(0, 90, 180, 270), 50, axis=0)
    assert sorted(greedy(vectors, np.arange(200), 4).rows // 50) == [0, 1, 2, 3]


def test_an_opening_from_a_sample_of_candidates_costs_little_coverage(monkeypatch):
    vectors = unit_vectors(400, n_blobs=30)
    exact = greedy(vectors, np.arange(400), 60).rows
    monkeypatch.setattr(greedy_module, "MAX_CELLS", 40_000)
    monkeypatch.setattr(greedy_module, "OPENING", 8)
    opened = greedy(vectors, np.arange(400), 60).rows
    assert opened.tolist() != exact.tolist()
    assert len(set(opened.tolist())) == 60
    assert value(vectors, opened) > 0.98 * value(vectors, exact)


def quotas_of(labels, *counts):
    return [Quota(np.array(column), np.array(n)) for column, n in zip(labels, counts, strict=True)]


@pytest.mark.slow
@given(st.integers(0, 10_000))
def test_quotas_in_several_columns_are_met_exactly(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=(2, 30))
    n = int(rng.integers(1, 12))
    chosen = rng.permutation(30)[:n]  # so the quotas can be met
    counts = [np.bincount(column[chosen], minlength=3) for column in labels]
    rows = greedy(unit_vectors(30, seed), np.arange(30), n, groups=quotas_of(labels, *counts)).rows
    assert len(set(rows.tolist())) == n
    for column, wanted in zip(labels, counts, strict=True):
        assert np.bincount(column[rows], minlength=3).tolist() == wanted.tolist()


def test_quotas_do_not_depend_on_the_order_of_the_candidates():
    vectors = unit_vectors(20)
    candidates = np.random.default_rng(0).permutation(20)
    labels = (candidates >= 10).astype(np.intp)
    rows = greedy(vectors, candidates, 5, groups=[Quota(labels, np.array([4, 1]))]).rows
    assert sorted(rows >= 10) == [False] * 4 + [True]


def test_a_quota_with_too_few_candidates_is_refused_with_the_numbers():
    with pytest.raises(UnmetQuotaError) as refused:
        greedy(unit_vectors(6), np.arange(6), 5, groups=quotas_of([[0, 0, 0, 0, 1, 1]], [2, 3]))
    assert refused.value.shortages == [Shortage(column=0, label=1, n_wanted=3, n_candidates=2)]
    assert refused.value.n_most == 4


def test_quotas_that_cannot_be_met_together_are_refused_with_the_possible_number():
    labels = [[0, 0, 1, 1], [0, 0, 1, 1]]
    with pytest.raises(UnmetQuotaError) as refused:
        greedy(unit_vectors(4), np.arange(4), 2, groups=quotas_of(labels, [2, 0], [0, 2]))
    assert (refused.value.shortages, refused.value.n_most) == ([], 0)
