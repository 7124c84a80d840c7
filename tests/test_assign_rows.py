"""The cheapest assignment of rows to clusters of bounded sizes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from threadpoolctl import threadpool_limits

from tasks.lib.kmeans import assign_rows, cluster_prices, partition
from tasks.lib.kmeans.assign_rows import Bounds, assign

most = settings(max_examples=100)


@st.composite
def problems(draw):
    """Draw costs (some with ties, equal rows or no difference at all), bounds and prices."""
    rng = np.random.default_rng(draw(st.integers(0, 9999)))
    k = draw(st.integers(1, 7))
    n = draw(st.integers(k, 40))
    kind = draw(st.sampled_from(["any", "ties", "equal rows", "all equal", "one cheap cluster"]))
    costs = rng.standard_normal((n, k))
    if kind == "ties":
        costs = rng.integers(0, 3, (n, k))
    elif kind == "equal rows":
        costs = costs[rng.integers(0, min(n, 3), n)]
    elif kind == "all equal":
        costs[:] = 0
    elif kind == "one cheap cluster":
        costs[:, 0] -= 100
    bounds = draw(st.sampled_from(["equal", "given", "wide"]))
    lower, upper = np.full(k, n // k), np.full(k, -(-n // k))
    if bounds == "given":
        lower = upper = np.bincount(rng.integers(0, k, n), minlength=k)
    elif bounds == "wide":
        lower, upper = rng.integers(0, n // k + 1, k), upper + rng.integers(0, 3, k)
    start = rng.standard_normal(k) * draw(st.sampled_from([0, 1, 50]))
    return costs.astype(np.float32), Bounds(lower, upper), start.astype(np.float32)


def total(costs, labels):
    return costs[np.arange(len(costs)), labels].sum(dtype=np.float64)


def least_total(costs, bounds):
    """Return the lowest total cost by the Hungarian algorithm, with a column for each place."""
    bonus = 1e4
    must = np.repeat(costs.astype(np.float64) - bonus, bounds.lower, axis=1)
    may = np.repeat(costs.astype(np.float64), bounds.upper - bounds.lower, axis=1)
    places = np.concatenate([must, may], axis=1)
    rows, columns = linear_sum_assignment(places)
    return places[rows, columns].sum() + bonus * bounds.lower.sum()


def equal(n, k):
    return Bounds(np.full(k, n // k), np.full(k, -(-n // k)))


@given(problem=problems())
@most
def test_no_assignment_within_the_bounds_costs_less(problem):
    costs, bounds, start = problem
    labels, _ = assign(costs, bounds, start)
    sizes = np.bincount(labels, minlength=costs.shape[1])
    assert (bounds.lower <= sizes).all()
    assert (sizes <= bounds.upper).all()
    assert total(costs, labels) == pytest.approx(least_total(costs, bounds), abs=1e-3)


@given(problem=problems())
@most
def test_the_prices_prove_that_the_assignment_is_optimal(problem):
    costs, bounds, start = problem
    labels, proof = assign(costs, bounds, start)
    priced = costs + proof
    assert (priced[np.arange(len(costs)), labels] <= priced.min(axis=1) + 1e-4).all()
    sizes = np.bincount(labels, minlength=costs.shape[1])
    fuller, emptier = proof[sizes > bounds.lower], proof[sizes < bounds.upper]
    if len(fuller) and len(emptier):
        assert fuller.min() >= emptier.max() - 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("movable", [1, 32])
def test_thousands_of_rows_are_assigned_as_well_as_by_the_hungarian_algorithm(movable, monkeypatch):
    monkeypatch.setattr(assign_rows, "MOVABLE", movable)  # with 1, far too few rows at first
    rng = np.random.default_rng(0)
    costs = rng.standard_normal((1500, 12)).astype(np.float32) + np.linspace(0, 2, 12, dtype="f")
    labels, _ = assign(costs, equal(1500, 12), np.zeros(12, np.float32))
    assert total(costs, labels) == pytest.approx(least_total(costs, equal(1500, 12)), abs=1e-3)


def test_newtons_steps_leave_about_one_row_per_cluster():
    rng = np.random.default_rng(0)
    costs = rng.standard_normal((20_000, 10)).astype(np.float32) + np.linspace(0, 2, 10, dtype="f")
    labels, _, _ = cluster_prices.balance(costs, np.full(10, 2000.0), np.zeros(10, np.float32))
    assert np.bincount(costs.argmin(axis=1)).max() > 4000
    assert np.abs(np.bincount(labels) - 2000).sum() / 2 <= 10 + 20_000 / 4_000


def test_labels_do_not_depend_on_blocks_or_threads(monkeypatch):
    costs = np.random.default_rng(0).standard_normal((3000, 9)).astype(np.float32)
    assignments = []
    for block, n_threads in [(8192, 1), (8192, 2), (100, 1), (100, 2)]:
        monkeypatch.setattr(partition, "BLOCK", block)
        with threadpool_limits(n_threads):
            assignments.append(assign(costs, equal(3000, 9), np.zeros(9, np.float32)))
    for labels, proof in assignments[1:]:
        assert (labels == assignments[0].labels).all()
        assert (proof == assignments[0].prices).all()


def test_a_hundred_thousand_equal_rows_are_assigned_at_once():
    costs = np.tile(np.array([3, 1, 2], np.float32), (100_000, 1))
    labels, _ = assign(costs, equal(100_000, 3), np.zeros(3, np.float32))
    assert sorted(np.bincount(labels)) == [33_333, 33_333, 33_334]


def test_costs_do_not_change():
    costs = np.random.default_rng(0).standard_normal((100, 3)).astype(np.float32)
    copy = costs.copy()
    assign(costs, equal(100, 3), np.zeros(3, np.float32))
    assert (costs == copy).all()
