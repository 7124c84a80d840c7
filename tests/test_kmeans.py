import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from k_means_constrained import KMeansConstrained
from sklearn.base import clone
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from tasks.lib.kmeans.kmeans import BalancedKMeans

few = settings(max_examples=40, deadline=None)


def blobs(n, seed=0, d=8, n_blobs=5):
    """Points around centres that attract very different numbers of them."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(n_blobs, 0.5))
    centres = rng.standard_normal((n_blobs, d)) * 2
    points = centres[rng.choice(n_blobs, n, p=shares)] + rng.standard_normal((n, d))
    return points.astype(np.float32)


def inertia(points, labels):
    means = {label: points[labels == label].mean(axis=0, dtype=float) for label in set(labels)}
    return ((points - np.stack([means[label] for label in labels])) ** 2).sum()


@given(
    n=st.integers(1, 50),
    d=st.sampled_from([1, 2, 4, 7]),
    n_distinct=st.integers(1, 50),
    seed=st.integers(0, 99),
    data=st.data(),
)
@few
def test_sizes_differ_by_at_most_one_and_attributes_agree(n, d, n_distinct, seed, data):
    points = blobs(n, seed, d)[np.arange(n) % min(n, n_distinct)]
    k = data.draw(st.integers(1, n))
    found = BalancedKMeans(k, random_state=seed).fit(points)
    sizes = np.bincount(found.labels_, minlength=k)
    assert sizes.sum() == n
    assert sizes.max() - sizes.min() <= 1
    assert len(sizes) == k
    assert found.labels_.dtype == np.int32
    assert found.inertia_ == pytest.approx(inertia(points, found.labels_), rel=1e-4, abs=1e-4)
    means = np.stack([points[found.labels_ == c].mean(axis=0) for c in range(k)])
    assert found.cluster_centers_ == pytest.approx(means, abs=1e-4)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("n", "k"), [(200, 20), (1000, 5)])
def test_inertia_is_that_of_the_exact_solver_from_the_same_centres(n, k, seed):
    points = blobs(n, seed)
    start = points[np.random.default_rng(seed).choice(n, k, replace=False)]
    ours = BalancedKMeans(k, init=start, tol=0).fit(points).inertia_
    exact = KMeansConstrained(
        k, size_min=n // k, size_max=-(-n // k), init=start.copy(), n_init=1, random_state=0
    ).fit(points.copy())
    # Both end in local minima, and theirs come from distances that are not squared.
    assert ours <= 1.03 * inertia(points, exact.labels_)


def test_without_pressure_it_finds_what_plain_k_means_finds():
    points = blobs(300, n_blobs=1) + np.repeat(np.eye(3, 8, dtype=np.float32) * 50, 100, axis=0)
    ours = BalancedKMeans(3, random_state=0).fit(points)
    assert ours.inertia_ == pytest.approx(
        KMeans(3, n_init=10, random_state=0).fit(points).inertia_, rel=1e-5
    )


def test_no_iteration_raises_the_inertia_and_the_limit_is_kept():
    points = blobs(2000)
    start = points[:12]
    found = [BalancedKMeans(12, init=start, max_iter=i, tol=0).fit(points) for i in range(1, 12)]
    assert [one.n_iter_ for one in found] == list(range(1, 12))
    assert (np.diff([one.inertia_ for one in found]) <= 1e-3).all()
    assert found[-1].inertia_ < 0.95 * found[0].inertia_


def test_it_ends_early_where_iterations_gain_little():
    points = blobs(2000)
    n_iters = [
        BalancedKMeans(12, tol=tol, random_state=0).fit(points).n_iter_ for tol in (1e-1, 1e-3, 0)
    ]
    assert n_iters == sorted(set(n_iters))


def test_the_same_seed_gives_the_same_clusters_whatever_the_number_of_threads():
    points = blobs(10_000, d=64)
    found = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads):
            found.append(BalancedKMeans(10, random_state=3).fit(points))
    assert (found[0].labels_ == found[1].labels_).all()
    assert (found[0].cluster_centers_ == found[1].cluster_centers_).all()
    other = BalancedKMeans(10, random_state=4).fit_predict(points)
    assert (other != found[0].labels_).any()


def test_vectors_far_from_the_origin_cluster_as_those_around_it():
    points = np.round(blobs(500) * 64) / 64  # whole 64ths, so that the shift loses no digits
    near = BalancedKMeans(7, init=points[:7], tol=0, max_iter=5).fit(points)
    far = BalancedKMeans(7, init=points[:7] + 1000, tol=0, max_iter=5).fit(points + 1000)
    assert far.inertia_ == pytest.approx(near.inertia_, rel=1e-3)


@pytest.mark.parametrize("scale", [2.0**-30, 2.0**30])
def test_the_unit_of_measurement_does_not_matter(scale):
    points = blobs(500)
    one, other = (
        BalancedKMeans(7, init=points[:7] * unit).fit_predict(points * unit) for unit in (1, scale)
    )
    assert (one == other).all()


def test_it_is_an_estimator_as_scikit_learn_knows_them():
    estimator = BalancedKMeans(3, random_state=1, max_iter=7)
    twin = clone(estimator)
    assert twin.get_params() == estimator.get_params()
    assert twin.set_params(n_clusters=4).n_clusters == 4
    points = blobs(40)
    assert (estimator.fit_predict(points) == estimator.labels_).all()
    assert (estimator.fit(points.tolist()).labels_ == estimator.fit_predict(points)).all()


def test_a_mapped_read_only_file_is_taken_as_it_is(tmp_path):
    np.save(tmp_path / "points.npy", blobs(50))
    mapped = np.load(tmp_path / "points.npy", mmap_mode="r")
    found = BalancedKMeans(4, random_state=0).fit(mapped)
    assert (found.labels_ == BalancedKMeans(4, random_state=0).fit(blobs(50)).labels_).all()


@pytest.mark.parametrize(
    ("params", "points", "message"),
    [
        ({"n_clusters": 4}, blobs(3), "n_clusters=4 must be from 1 to the number of rows, 3"),
        ({"n_clusters": 0}, blobs(3), "n_clusters=0 must be"),
        ({"n_clusters": 1}, blobs(3) * np.nan, "NaN"),
        ({"n_clusters": 1}, [[1.0, np.inf]], "infinity"),
        ({"n_clusters": 3, "init": 1e25 * np.eye(3, 8)}, blobs(9), "too long for float32"),
        ({"n_clusters": 1}, np.zeros((0, 3)), "0 sample"),
        ({"n_clusters": 1}, np.zeros(3), "1D array"),
        ({"max_iter": 0}, blobs(9), "max_iter must be at least 1"),
        ({"tol": -1}, blobs(9), "tol at least 0"),
        ({"init": "random"}, blobs(9), "init must be k-means"),
        ({"init": np.zeros((8, 3))}, blobs(9), "8 finite centres of 8 numbers"),
        ({"init": np.full((8, 8), np.nan)}, blobs(9), "8 finite centres"),
    ],
)
def test_what_cannot_be_clustered_is_refused_in_words(params, points, message):
    with pytest.raises(ValueError, match=message):
        BalancedKMeans(**params).fit(points)


def test_blobs_that_attract_very_different_numbers_of_rows_are_cut_in_seconds():
    points = blobs(30_000, d=2, n_blobs=3)
    found = BalancedKMeans(20, random_state=0, max_iter=4).fit(points)
    assert set(np.bincount(found.labels_)) == {1500}


def test_too_little_memory_is_refused_and_what_is_said_to_be_needed_is_enough():
    points = blobs(30_000)
    with pytest.raises(ValueError, match=r"need \d+ MB beside the vectors") as caught:
        BalancedKMeans(20, max_memory_mb=1).fit(points)
    needed = int(str(caught.value).split("need ")[1].split(" MB")[0])
    found = BalancedKMeans(20, max_memory_mb=needed, random_state=0, max_iter=2).fit(points)
    assert found.n_iter_ == 2
