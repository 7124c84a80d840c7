"""The number and the size of prompts, each derived from the other, and refused geometries."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.choose.order import JudgedRecords, by_ranks
from tasks.cluster.step import Cluster, check, cluster
from tasks.lib.core.errors import ParamError
from tasks.lib.prompts.prompt_size import Geometry, Mode, check_budgets, check_fit
from tests.pools import unit_vectors

DOLLY = 14_776  # records of Dolly that are left after dedupe
each_mode = pytest.mark.parametrize("mode", Mode)


def params(mode=Mode.PAPER, size=None, n_prompts=None):
    sizes = {"candidates_per_prompt": size, "n_prompts": n_prompts}
    return Cluster(mode=mode, solver="auto", max_memory_mb=100_000, earlier_prompts="x", **sizes)


def values(budget, mode="paper", size=None, n_prompts=None):
    """Return the params that embed reads."""
    section = {"mode": mode, "candidates_per_prompt": size, "n_prompts": n_prompts}
    return {
        "cluster": section | {"solver": "auto", "max_memory_mb": 100, "earlier_prompts": "x"},
        "llm_select": {"budget": budget},
    }


def sizes_of(prompts):
    return [len(prompt) for prompt in prompts]


def picks_by_prompt(clustered, budgets):
    """Return how many records of each prompt are selected by a judge that ranks by slots."""
    sizes = np.array(sizes_of(clustered.prompts))
    n_ranked = -(-max(budgets) // len(sizes))
    slots = np.concatenate([np.arange(1, size + 1) for size in sizes])
    rows = np.concatenate(clustered.prompts)
    prompts = np.repeat(np.arange(1, len(sizes) + 1, dtype=np.int32), sizes)
    ranks = np.where(slots <= n_ranked, slots, np.inf)
    vectors = np.eye(len(rows), 1, dtype=np.float32)
    scores, weights = np.zeros(len(rows)), np.ones(len(rows))
    judged = JudgedRecords(rows, prompts, ranks, scores, sizes, vectors, weights, rows[:0])
    chosen = by_ranks(judged, max(budgets), 0).rows
    assert len(set(chosen.tolist())) == max(budgets)
    prompt_of = dict(zip(rows.tolist(), prompts.tolist(), strict=True))
    return Counter(prompt_of[row] for row in chosen.tolist())


# The experiment of the paper


@pytest.fixture(scope="module")
def experiment():
    return cluster(unit_vectors(DOLLY), params(n_prompts=1000), 0)


def test_a_pool_of_dollys_size_gives_1000_prompts_of_14_or_15(experiment):
    assert Counter(sizes_of(experiment.prompts)) == {15: 776, 14: 224}
    assert sorted(itertools.chain(*experiment.prompts)) == list(range(DOLLY))
    clusters = sizes_of(experiment.partition.clusters)
    assert (len(clusters), min(clusters), max(clusters)) == (15, 985, 986)
    for prompt in experiment.prompts:
        slots = experiment.partition.labels[prompt]
        assert (np.diff(slots) > 0).all()  # one of each cluster, and the slots follow the clusters


@pytest.mark.parametrize(("budget", "n_picks"), [(1000, 1), (2000, 2), (3000, 3)])
def test_each_of_1000_prompts_picks_the_same_number(experiment, budget, n_picks):
    check_fit(values(budget, n_prompts=1000), DOLLY)
    picks = picks_by_prompt(experiment, (budget,))
    assert set(picks) == set(range(1, 1001))
    assert set(picks.values()) == {n_picks}


def test_the_three_budgets_of_the_paper_make_one_selection(experiment):
    check_fit(values([1000, 2000, 3000], n_prompts=1000), DOLLY)
    assert set(picks_by_prompt(experiment, (1000, 2000, 3000)).values()) == {3}


def test_with_a_given_prompt_size_the_refusal_offers_a_number_of_prompts():
    with pytest.raises(ParamError) as refused:
        check_fit(values(1000, size=14), DOLLY)
    assert str(refused.value) == (
        "params.yaml: llm_select.budget is 1,000, but in paper mode each of the 1,056 prompts must "
        "pick the same number of records\n"
        "  Set it to 1056, or set cluster.mode to across.\n"
        "  For 1000 prompts: -S cluster.n_prompts=1000 -S cluster.candidates_per_prompt=null"
    )


def test_a_number_of_prompts_that_does_not_fit_is_not_offered():
    with pytest.raises(ParamError) as refused:
        check_fit(values(7, size=14), DOLLY)
    assert "Set it to 1056" in str(refused.value)
    assert "n_prompts=7" not in str(refused.value)


# Any numbers that fit


@st.composite
def fits(draw):
    """Draw a number of records and a number of prompts that fits."""
    n = draw(st.integers(2, 40))
    return n, draw(st.integers(1, n // 2))


@pytest.mark.slow
@each_mode
@given(fit=fits(), seed=st.integers(0, 99))
@settings(max_examples=15)
def test_a_given_number_of_prompts_is_made_and_their_sizes_differ_by_at_most_one(mode, fit, seed):
    n, n_prompts = fit
    prompts, partition = cluster(unit_vectors(n), params(mode, n_prompts=n_prompts), seed)
    sizes, cluster_sizes = sizes_of(prompts), sizes_of(partition.clusters)
    assert sorted(itertools.chain(*prompts)) == list(range(n))
    assert len(prompts) == n_prompts
    assert max(sizes) == -(-n // n_prompts)
    assert min(sizes) == n // n_prompts
    assert max(cluster_sizes) - min(cluster_sizes) <= 1
    labels = [partition.labels[prompt].tolist() for prompt in prompts]
    if mode is Mode.WITHIN:
        assert [set(clusters) for clusters in labels] == [{p} for p in range(n_prompts)]
    else:
        assert len(cluster_sizes) == max(sizes)
        assert all(len(set(clusters)) == len(clusters) for clusters in labels)


@given(n_prompts=st.integers(1, 20), size=st.integers(2, 12), seed=st.integers(0, 99))
@settings(max_examples=15)
def test_with_full_clusters_prompt_p_takes_the_pth_record_of_every_cluster(n_prompts, size, seed):
    given_number = params(n_prompts=n_prompts)
    prompts, partition = cluster(unit_vectors(n_prompts * size), given_number, seed)
    assert sizes_of(partition.clusters) == [n_prompts] * size
    assert (np.stack(prompts) == np.stack(partition.clusters, axis=1)).all()


@pytest.mark.slow
@given(fit=fits(), seed=st.integers(0, 99))
def test_with_smaller_clusters_a_prompt_takes_nearby_ranks_of_every_cluster(fit, seed):
    n, n_prompts = fit
    prompts, partition = cluster(unit_vectors(n), params(n_prompts=n_prompts), seed)
    place = {row: i for rows in partition.clusters for i, row in enumerate(rows)}
    n_short = n_prompts - n // len(partition.clusters)
    for p, prompt in enumerate(prompts):
        assert all(p - n_short <= place[row] <= p for row in prompt)
        assert (np.diff(partition.labels[prompt]) > 0).all()


@pytest.mark.slow
@given(fit=fits(), data=st.data())
def test_in_paper_mode_each_prompt_picks_n_over_k_for_any_multiple(fit, data):
    n, n_prompts = fit
    n_picks = data.draw(st.integers(1, n // n_prompts))
    check_fit(values(n_picks * n_prompts, n_prompts=n_prompts), n)
    clustered = cluster(unit_vectors(n), params(n_prompts=n_prompts), 0)
    picks = picks_by_prompt(clustered, (n_picks * n_prompts,))
    assert picks == dict.fromkeys(range(1, n_prompts + 1), n_picks)


@given(n=st.integers(1, 100_000), size=st.integers(2, 200))
def test_the_number_and_the_size_of_prompts_follow_from_each_other(n, size):
    geometry = params(size=size).geometry(n)
    assert geometry == Geometry(-(-n // size), size)
    if 1 < n // 2 >= geometry.n_prompts:
        back = params(n_prompts=geometry.n_prompts).geometry(n)
        assert back.n_prompts == geometry.n_prompts
        assert back.candidates_per_prompt <= size


@given(n=st.integers(2, 5000), n_prompts=st.integers(1, 5000))
def test_a_number_of_prompts_fits_if_each_prompt_has_2_to_200_records(n, n_prompts):
    smallest, largest = n // n_prompts, -(-n // n_prompts)
    if smallest >= 2 and largest <= 200:
        assert params(n_prompts=n_prompts).geometry(n) == Geometry(n_prompts, largest)
    else:
        with pytest.raises(ParamError, match="each prompt must contain 2 to 200"):
            params(n_prompts=n_prompts).geometry(n)


@each_mode
@given(n=st.integers(1, 60), n_prompts=st.integers(1, 30), budget=st.integers(1, 70))
def test_a_budget_is_refused_exactly_if_it_does_not_fit(mode, n, n_prompts, budget):
    fits = budget <= n and (mode is not Mode.PAPER or budget % n_prompts == 0)
    try:
        check_budgets((budget,), mode, n, n_prompts)
    except ParamError:
        assert not fits
    else:
        assert fits


@given(n=st.integers(2, 3000), size=st.integers(2, 200), budget=st.integers(1, 3000))
@settings(max_examples=200)
def test_the_values_that_a_refusal_offers_are_accepted(n, size, budget):
    n_prompts = params(size=size).geometry(n).n_prompts
    try:
        check_budgets((budget,), Mode.PAPER, n, n_prompts)
    except ParamError as error:
        if budget <= n:
            offered = error.fix.partition("Set it to ")[2].partition(",")[0]
            for other in map(int, offered.split(" or ")):
                check_budgets((other,), Mode.PAPER, n, n_prompts)
            if "n_prompts" in error.fix:
                check_fit(values(budget, n_prompts=budget), n)


# What a user types


def test_setting_both_size_and_number_is_refused_with_a_fix():
    with pytest.raises(ParamError) as refused:
        check({"seed": 0, **values(1000, size=14, n_prompts=1000)})
    assert str(refused.value) == (
        "params.yaml: cluster: candidates_per_prompt is 14 and n_prompts is 1000, but one of them "
        "must be null\n"
        "  For 1000 prompts: -S cluster.n_prompts=1000 -S cluster.candidates_per_prompt=null\n"
        "  For 14 candidates per prompt: -S cluster.n_prompts=null"
    )


def test_setting_neither_size_nor_number_is_refused_with_a_fix():
    with pytest.raises(ParamError, match="both null") as refused:
        check({"seed": 0, **values(1000)})
    assert "-S cluster.n_prompts=1000" in refused.value.fix
    assert "-S cluster.candidates_per_prompt=14" in refused.value.fix


@pytest.mark.parametrize(("n_prompts", "problem"), [(0, "greater"), ("many", "valid"), (2.5, "")])
def test_a_value_that_is_not_a_number_of_prompts_is_named(n_prompts, problem):
    with pytest.raises(ParamError, match=f"cluster.n_prompts: input should be a?.*{problem}"):
        check({"seed": 0, **values(1000, n_prompts=n_prompts)})


@pytest.mark.parametrize("n_prompts", [73, 7_389, 1_000_000])
def test_the_error_for_a_number_of_prompts_that_does_not_fit_says_which_numbers_do(n_prompts):
    with pytest.raises(ParamError, match="2 to 200 of the 14,776 records") as refused:
        check_fit(values(1000, "across", n_prompts=n_prompts), DOLLY)
    assert refused.value.fix == "Set it to a number from 74 to 7388."
    for allowed in (74, 7388):
        check_fit(values(1000, "across", n_prompts=allowed), DOLLY)


@pytest.mark.parametrize(
    ("budget", "offered"), [(1500, "1000 or 2000"), (10, "1000"), (13_999, "13000 or 14000")]
)
def test_paper_mode_needs_a_multiple_of_the_prompts_and_offers_the_nearest(budget, offered):
    with pytest.raises(ParamError, match=f"Set it to {offered}, or set cluster.mode to across"):
        check_budgets((budget,), Mode.PAPER, 14_000, 1_000)
    check_budgets((2_000,), Mode.PAPER, 14_000, 1_000)


def test_in_paper_mode_every_budget_has_to_be_a_multiple_of_the_prompts():
    with pytest.raises(ParamError, match=r"budget is 1,500.*\n.*1000 or 2000"):
        check_budgets((1_000, 1_500, 2_000), Mode.PAPER, 14_000, 1_000)
    check_budgets((1_000, 2_000), Mode.PAPER, 14_000, 1_000)


def test_a_budget_above_the_number_of_records_says_how_many_there_are():
    with pytest.raises(
        ParamError, match=r"budget is 5,000, but there are only 1,234 records.*\n.*1234"
    ):
        check_budgets((5000,), Mode.ACROSS, 1234, 89)
