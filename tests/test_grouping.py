"""The clusters of every solver, and the parts of the algorithms that find them."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from tasks.lib.kmeans import balanced, constrained
from tasks.lib.kmeans.balanced import equal_size_kmeans
from tasks.lib.kmeans.partition import Solver, inertia
from tasks.lib.kmeans.refine import refine
from tasks.lib.kmeans.round_robin import round_robin, take_turns
from tasks.lib.kmeans.splits import split
from tests.pools import unit_vectors


def splits(vectors, k, seed):
    """Cluster on several levels, as if there were too many clusters to find at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(balanced, "FLAT", 0)
        patch.setattr(balanced, "BRANCHES", 3)
        return equal_size_kmeans(vectors, k, seed)


SOLVERS = {
    "balanced": equal_size_kmeans,
    "balanced_tree": splits,
    "k_means_constrained": constrained.equal_size_kmeans,
    "round_robin": round_robin,
}
each_solver = pytest.mark.parametrize("solver", SOLVERS)
few = settings(max_examples=15)


def least_inertia(vectors):
    """Return the least inertia of 7 vectors in 3 clusters, by trying every partition."""
    sizes, costs = [3, 2, 2], []
    for permutation in itertools.permutations(range(len(vectors))):
        clusters = np.split(np.array(permutation), np.cumsum(sizes)[:-1])
        if all((np.diff(rows) > 0).all() for rows in clusters):
            costs.append(inertia(vectors, clusters))
    return min(costs)


@st.composite
def problems(draw):
    """Draw vectors, some of them equal, and a number of clusters."""
    n = draw(st.integers(1, 25))
    # Not 5: there OpenBLAS 0.3.31 may warn of an invalid value, though all are right.
    d = draw(st.sampled_from([1, 2, 3, 4, 6, 7]))
    vectors = unit_vectors(n, draw(st.integers(0, 99)), d)
    n_distinct = draw(st.integers(1, n))
    return vectors[np.arange(n) % n_distinct], draw(st.integers(1, n))


def equal_sizes(n, k):
    return [n // k + (i < n % k) for i in range(k)]


@pytest.mark.slow
@each_solver
@given(problem=problems(), seed=st.integers(0, 9))
@few
def test_every_row_is_in_one_cluster_and_sizes_differ_by_at_most_one(solver, problem, seed):
    vectors, k = problem
    partition = SOLVERS[solver](vectors, k, seed)
    assert sorted(np.concatenate(partition.clusters)) == list(range(len(vectors)))
    assert [len(rows) for rows in partition.clusters] == equal_sizes(len(vectors), k)
    assert partition.labels.dtype == np.int32
    for number, rows in enumerate(partition.clusters):
        assert (partition.labels[rows] == number).all()


@pytest.mark.slow
@each_solver
def test_the_same_seed_gives_the_same_clusters_whatever_the_number_of_threads(solver):
    vectors = unit_vectors(2000, d=64, n_blobs=9)
    results = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads):
            results.append(SOLVERS[solver](vectors, 10, 3))
    assert (results[0].labels == results[1].labels).all()
    assert results[0].inertia == results[1].inertia


@each_solver
def test_another_seed_may_give_different_clusters(solver):
    vectors = unit_vectors(200)
    labels = [SOLVERS[solver](vectors, 10, seed).labels for seed in range(3)]
    assert any((other != labels[0]).any() for other in labels[1:])


@each_solver
def test_vectors_do_not_change_and_may_be_read_only(solver):
    vectors = unit_vectors(30)
    copy = vectors.copy()
    vectors.flags.writeable = False
    SOLVERS[solver](vectors, 4, 0)
    assert (vectors == copy).all()


@each_solver
def test_equal_vectors_are_clustered_without_a_warning(solver):
    partition = SOLVERS[solver](np.full((50, 4), 0.5, np.float32), 7, 0)
    assert [len(rows) for rows in partition.clusters] == [8] + [7] * 6
    assert partition.inertia == 0


@each_solver
def test_well_separated_blobs_of_equal_size_are_the_clusters(solver):
    blob = np.arange(60) % 6
    vectors = np.eye(6, dtype=np.float32)[blob] + np.float32(0.01) * unit_vectors(60, d=6)
    partition = SOLVERS[solver](vectors, 6, 0)
    assert all(len(set(blob[rows])) == 1 for rows in partition.clusters)


@pytest.mark.slow
@given(problem=problems())
@few
def test_inertia_is_the_sum_of_squared_distances_to_the_mean(problem):
    vectors, k = problem
    partition = equal_size_kmeans(vectors, k, 0)
    means = np.stack([vectors[rows].mean(axis=0, dtype=float) for rows in partition.clusters])
    assert partition.inertia == pytest.approx(
        ((vectors - means[partition.labels]) ** 2).sum(), abs=1e-4
    )


@pytest.mark.parametrize(("k", "solver"), [(200, Solver.BALANCED), (201, Solver.BALANCED_TREE)])
def test_up_to_200_clusters_are_found_at_once(k, solver):
    assert equal_size_kmeans(unit_vectors(402), k, 0).solver is solver


@pytest.mark.slow
def test_small_problems_are_mostly_solved_as_well_as_by_brute_force():
    ratios = []
    for seed in range(10):
        vectors = unit_vectors(7, seed, d=3)
        ratios.append(equal_size_kmeans(vectors, 3, seed).inertia / least_inertia(vectors))
    assert min(ratios) >= 1 - 1e-5
    assert np.median(ratios) < 1.001


@pytest.mark.slow
@pytest.mark.parametrize(("n_blobs", "most"), [(0, 1.03), (30, 1.15)])
def test_a_tree_of_splits_is_nearly_as_tight_as_finding_all_clusters_at_once(n_blobs, most):
    vectors = unit_vectors(1400, d=32, n_blobs=n_blobs)
    assert splits(vectors, 100, 0).inertia < most * equal_size_kmeans(vectors, 100, 0).inertia


@pytest.mark.slow
def test_many_small_clusters_are_nearly_as_tight_as_without_size_bounds():
    vectors = unit_vectors(4000, d=32)
    free = KMeans(300, n_init=1, random_state=0).fit(vectors).inertia_
    assert equal_size_kmeans(vectors, 300, 0).inertia < 1.1 * free


@pytest.mark.parametrize("solver", ["balanced", "balanced_tree", "k_means_constrained"])
def test_neighbouring_cluster_numbers_are_similar(solver):
    vectors = unit_vectors(1000, d=16, n_blobs=12)
    partition = SOLVERS[solver](vectors, 50, 0)
    means = np.stack([vectors[rows].mean(axis=0) for rows in partition.clusters])
    distances = np.linalg.norm(means[:, None] - means, axis=2)
    assert distances.diagonal(offset=1).mean() < 0.75 * distances[np.triu_indices(50, 1)].mean()


@pytest.mark.slow
@given(problem=problems(), branches=st.integers(2, 5))
@few
def test_splits_may_have_any_number_of_branches(problem, branches):
    vectors, k = problem
    clusters = split(vectors, k, np.random.RandomState(0), branches=branches, tol=1e-3)
    assert sorted(map(len, clusters), reverse=True) == equal_sizes(len(vectors), k)
    assert sorted(np.concatenate(clusters)) == list(range(len(vectors)))


@pytest.mark.parametrize("k", [11, 70], ids=["one group", "several groups"])
def test_refining_lowers_inertia_and_keeps_sizes_and_order(k):
    vectors = unit_vectors(700, n_blobs=10)
    clusters = np.array_split(np.arange(700), k)
    refined = refine(vectors, clusters, np.random.RandomState(0))
    assert [len(rows) for rows in refined] == [len(rows) for rows in clusters]
    assert sorted(np.concatenate(refined)) == list(range(700))
    assert inertia(vectors, refined) < 0.5 * inertia(vectors, clusters)


@given(problem=problems())
@few
def test_no_exchange_of_two_records_improves_what_refining_left(problem):
    vectors, _ = problem
    clusters = np.array_split(np.arange(len(vectors)), min(len(vectors), 3))
    clusters = refine(vectors, clusters, np.random.RandomState(0))
    least = inertia(vectors, clusters)
    for a, b in itertools.combinations(range(len(clusters)), 2):
        for i, j in itertools.product(range(len(clusters[a])), range(len(clusters[b]))):
            other = [rows.copy() for rows in clusters]
            other[a][i], other[b][j] = clusters[b][j], clusters[a][i]
            assert inertia(vectors, other) > least - 1e-4


def literal_turns(vectors, centres):
    """Return the order of Algorithm 2: each cluster in turn takes the nearest remaining record."""
    left, order = set(range(len(vectors))), []
    while left:
        for centre in centres:
            if left:
                nearest = min(left, key=lambda row: (((vectors[row] - centre) ** 2).sum(), row))
                left.remove(nearest)
                order.append(nearest)
    return order


@given(
    points=st.lists(st.tuples(*[st.integers(-3, 3)] * 2), min_size=1, max_size=40),
    n_centres=st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_turns_match_the_literal_algorithm_with_ties_by_index(points, n_centres, seed):
    vectors = np.array(points, np.float32)  # whole numbers, so that ties are ties
    centres = np.random.default_rng(seed).integers(-3, 4, (n_centres, 2)).astype(np.float32)
    assert list(take_turns(vectors, centres)) == literal_turns(vectors, centres)


def test_round_robin_takes_turns_around_the_centres_of_plain_k_means():
    vectors = unit_vectors(100, n_blobs=5)
    centres = KMeans(7, n_init=1, random_state=4).fit(vectors).cluster_centers_
    order = literal_turns(vectors.astype(np.float64), centres.astype(np.float64))
    assert [list(rows) for rows in round_robin(vectors, 7, 4).clusters] == [
        order[c::7] for c in range(7)
    ]
