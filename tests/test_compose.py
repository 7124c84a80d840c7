"""Prompts that are composed of clusters: their sizes, their order, and what they depend on."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.lib.kmeans.balanced import equal_size_kmeans
from tasks.lib.prompts.compose import compose
from tasks.lib.prompts.prompt_size import Mode
from tests.pools import unit_vectors
from tests.test_grouping import few


@st.composite
def candidates(draw):
    """Draw the clusters of candidates, in any order, and a number of prompts."""
    clusters = draw(st.lists(st.integers(0, 9), max_size=60))
    return np.array(clusters, np.int32), draw(st.integers(1, max(1, len(clusters))))


def lengths(clusters, seed):
    """Return the lengths of texts in bytes: most are short, some long, a few above the limit."""
    return np.random.default_rng(seed).lognormal(5, 1.5, len(clusters)).astype(np.int64)


@pytest.mark.parametrize("mode", Mode)
@given(candidates=candidates(), seed=st.integers(0, 9))
@few
def test_every_candidate_is_in_one_prompt_and_sizes_differ_by_at_most_one(mode, candidates, seed):
    clusters, n_prompts = candidates
    prompts = compose(clusters, n_prompts, mode, seed, lengths(clusters, seed))
    assert sorted(itertools.chain(*prompts)) == list(range(len(clusters)))
    assert len(prompts) == (n_prompts if len(clusters) else 0)
    sizes = [len(prompt) for prompt in prompts]
    assert not sizes or max(sizes) <= min(sizes) + 1


@pytest.mark.parametrize("mode", [Mode.ACROSS, Mode.PAPER])
@given(candidates=candidates(), seed=st.integers(0, 9))
@few
def test_across_spreads_every_cluster_as_evenly_as_possible(mode, candidates, seed):
    clusters, n_prompts = candidates
    prompts = compose(clusters, n_prompts, mode, seed, lengths(clusters, seed))
    for cluster in set(clusters):
        counts = [(clusters[prompt] == cluster).sum() for prompt in prompts]
        assert max(counts) - min(counts) <= 1


@given(candidates=candidates(), seed=st.integers(0, 9))
@few
def test_prompts_in_within_mode_are_ordered_by_cluster_number(candidates, seed):
    clusters, n_prompts = candidates
    prompts = [clusters[prompt] for prompt in compose(clusters, n_prompts, Mode.WITHIN, seed)]
    for prompt, following in itertools.pairwise(prompts):
        assert max(prompt) <= min(following)


def test_prompts_in_within_mode_are_the_clusters_of_equal_size_k_means():
    labels = equal_size_kmeans(unit_vectors(100), 8, 0).labels
    prompts = compose(labels, 8, Mode.WITHIN, 0)
    assert [set(labels[prompt]) for prompt in prompts] == [{c} for c in range(8)]


@pytest.mark.parametrize("n", [1400, 1395])
def test_prompts_in_across_mode_have_similar_lengths(n):
    clusters = np.arange(n, dtype=np.int32) % 14
    n_bytes = np.minimum(lengths(clusters, 0), 2_000)
    drawn, levelled = (
        np.array([n_bytes[p].sum() for p in compose(clusters, 100, Mode.ACROSS, 0, given)])
        for given in (None, n_bytes)
    )
    assert levelled.std() < drawn.std() / 3
    assert levelled.max() < 1.4 * levelled.mean() < drawn.max()


def test_in_paper_mode_prompt_p_has_the_pth_record_of_every_cluster_and_slots_are_clusters():
    clusters = np.array([0, 1, 2] * 4, np.int32)  # as taken in turns
    prompts = compose(clusters, 4, Mode.PAPER, 0)
    assert [list(prompt) for prompt in prompts] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]


@pytest.mark.parametrize("mode", [Mode.WITHIN, Mode.ACROSS])
def test_slots_do_not_depend_on_the_order_of_candidates_or_of_clusters(mode):
    clusters = np.repeat(np.arange(10, dtype=np.int32), 100)
    prompts = np.array(compose(clusters, 100, mode, 0))
    assert np.corrcoef(prompts.ravel(), np.tile(np.arange(10), 100))[0, 1] == pytest.approx(
        0, abs=0.1
    )
    assert not (np.diff(prompts, axis=1) > 0).all(axis=1).any()


def test_prompts_in_across_mode_do_not_depend_on_the_order_of_candidates():
    clusters = np.repeat(np.arange(10, dtype=np.int32), 100)
    place_in_cluster = np.array(compose(clusters, 100, Mode.ACROSS, 0)) % 100
    assert np.corrcoef(place_in_cluster.ravel(), np.repeat(np.arange(100), 10))[0, 1] < 0.1


@pytest.mark.parametrize("mode", [Mode.WITHIN, Mode.ACROSS])
def test_prompts_depend_on_the_seed(mode):
    clusters = np.arange(40, dtype=np.int32) % 4
    first, again, other = (np.concatenate(compose(clusters, 10, mode, s)) for s in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
