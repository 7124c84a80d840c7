"""Lloyd's iteration with clusters of equal size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from k_means_constrained import KMeansConstrained
from numpy.random import RandomState
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from tasks.lib.kmeans.assign_rows import Bounds
from tasks.lib.kmeans.lloyd import first_centres, lloyd
from tests.pools import uneven_blobs


def inertia(points, labels):
    means = {label: points[labels == label].mean(axis=0, dtype=float) for label in set(labels)}
    return ((points - np.stack([means[label] for label in labels])) ** 2).sum()


def fit(points, centres, max_iter=300, tol=0.0):
    k = len(centres)
    bounds = Bounds(np.full(k, len(points) // k), np.full(k, -(-len(points) // k)))
    return lloyd(points, centres, bounds, max_iter=max_iter, tol=tol)


@given(
    n=st.integers(1, 50),
    d=st.sampled_from([1, 2, 4, 7]),
    n_distinct=st.integers(1, 50),
    seed=st.integers(0, 99),
    data=st.data(),
)
@settings(max_examples=40)
def test_sizes_differ_by_at_most_one_and_centres_are_the_means(n, d, n_distinct, seed, data):
    points = uneven_blobs(n, seed, d)[np.arange(n) % min(n, n_distinct)]
    k = data.draw(st.integers(1, n))
    result = fit(points, first_centres(points, k, RandomState(seed)))
    sizes = np.bincount(result.labels, minlength=k)
    assert (sizes.sum(), len(sizes)) == (n, k)
    assert sizes.max() - sizes.min() <= 1
    means = np.stack([points[result.labels == c].mean(axis=0) for c in range(k)])
    assert result.centres == pytest.approx(means, abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("n", "k"), [(200, 20), (1000, 5)])
def test_inertia_equals_that_of_the_exact_solver_from_the_same_centres(n, k, seed):
    points = uneven_blobs(n, seed)
    start = points[np.random.default_rng(seed).choice(n, k, replace=False)]
    exact = KMeansConstrained(
        k, size_min=n // k, size_max=-(-n // k), init=start.copy(), n_init=1, random_state=0
    ).fit(points.copy())
    # Both end in local minima, and theirs come from distances that are not squared.
    assert inertia(points, fit(points, start).labels) <= 1.03 * inertia(points, exact.labels_)


def test_blobs_of_equal_size_are_the_clusters_of_plain_k_means():
    points = uneven_blobs(300, n_blobs=1) + np.repeat(
        np.eye(3, 8, dtype=np.float32) * 50, 100, axis=0
    )
    labels = fit(points, first_centres(points, 3, RandomState(0))).labels
    expected = KMeans(3, n_init=10, random_state=0).fit(points).inertia_
    assert inertia(points, labels) == pytest.approx(expected, rel=1e-5)


def test_no_iteration_raises_the_inertia_and_the_limit_is_kept():
    points = uneven_blobs(2000)
    results = [fit(points, points[:12], max_iter=i) for i in range(1, 12)]
    assert [result.n_iter for result in results] == list(range(1, 12))
    inertias = [inertia(points, result.labels) for result in results]
    assert (np.diff(inertias) <= 1e-3).all()
    assert inertias[-1] < 0.95 * inertias[0]


def test_the_loop_ends_early_if_iterations_gain_little():
    points = uneven_blobs(2000)
    n_iters = [fit(points, points[:12], tol=tol).n_iter for tol in (1e-1, 1e-3, 0)]
    assert n_iters == sorted(set(n_iters))


@pytest.mark.slow
def test_the_same_centres_give_the_same_clusters_on_any_number_of_cores(monkeypatch):
    points, results = uneven_blobs(20_000, d=64), []
    for n_cores in (1, 2):
        monkeypatch.setattr("os.cpu_count", lambda n=n_cores: n)
        with threadpool_limits(1):
            results.append(fit(points, points[:10], max_iter=9))
    assert (results[0].labels == results[1].labels).all()
    assert (results[0].centres == results[1].centres).all()


def test_vectors_far_from_the_origin_cluster_like_vectors_around_it():
    points = np.round(uneven_blobs(500) * 64) / 64  # whole 64ths, so that the shift loses no digits
    near, far = (fit(points + shift, points[:7] + shift, max_iter=5) for shift in (0, 1000))
    assert inertia(points, far.labels) == pytest.approx(inertia(points, near.labels), rel=1e-3)


@pytest.mark.parametrize("scale", [2.0**-30, 2.0**30])
def test_the_unit_of_measurement_does_not_matter(scale):
    points = uneven_blobs(500)
    plain, scaled = (fit(points * unit, points[:7] * unit) for unit in (1, np.float32(scale)))
    assert (plain.labels == scaled.labels).all()


def test_vectors_too_long_for_float32_are_refused():
    with pytest.raises(ValueError, match="too long for float32"):
        fit(uneven_blobs(9), np.float32(1e25) * np.eye(3, 8, dtype=np.float32))


def test_blobs_that_attract_very_different_numbers_of_rows_are_split_in_seconds():
    points = uneven_blobs(30_000, d=2, n_blobs=3)
    result = fit(points, first_centres(points, 20, RandomState(0)), max_iter=4)
    assert set(np.bincount(result.labels)) == {1500}
