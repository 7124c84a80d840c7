import itertools
import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.cluster.inputs import finite_vectors, text_lengths
from tasks.cluster.step import Cluster, check, cluster, work
from tasks.lib.core.errors import DataError, ParamError
from tasks.lib.core.params import load_seed, read_params
from tasks.lib.core.records import TEXT_COLUMNS, record_text
from tasks.lib.core.schemas import POOL, PROMPTS, UNIQUE
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table
from tasks.lib.prompts.compose import Mode
from tests.pools import unit_vectors
from tests.workspaces import StepWorkspace

ROOT = Path(__file__).parents[1]
SECTION = {
    "mode": "within",
    "candidates_per_prompt": 14,
    "n_prompts": None,
    "solver": "auto",
    "max_memory_mb": 1000,
    "earlier_prompts": str(ROOT / "data/none.jsonl"),
}
each_mode = pytest.mark.parametrize("mode", Mode)


def params(**changes):
    return Cluster.model_validate({**SECTION, **changes})


# Prompts


@pytest.mark.slow
@each_mode
@given(
    n=st.integers(1, 25),
    size=st.integers(2, 30),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=15)
def test_every_record_is_in_one_prompt_and_sizes_differ_by_at_most_one(mode, n, size, seed):
    chosen = params(mode=mode, candidates_per_prompt=size)
    prompts, partition = cluster(unit_vectors(n), chosen, seed)
    assert sorted(itertools.chain(*prompts)) == list(range(n))
    assert len(prompts) == -(-n // size)
    assert max(map(len, prompts)) <= min(min(map(len, prompts)) + 1, size)
    clusters = [list(partition.labels[prompt]) for prompt in prompts]
    if mode is Mode.WITHIN:
        assert [set(labels) for labels in clusters] == [{c} for c in range(len(prompts))]
    else:
        assert all(len(set(labels)) == len(labels) for labels in clusters)


@each_mode
@pytest.mark.parametrize("sizes", [[1], [5], [14], [14, 14], [8, 7]])
def test_small_pools_of_equal_vectors_are_grouped_without_a_warning(mode, sizes):
    vectors = np.full((sum(sizes), 4), 0.5, np.float32)
    prompts, partition = cluster(vectors, params(mode=mode), 0)
    assert [len(prompt) for prompt in prompts] == sizes
    assert partition.inertia == 0


def test_within_makes_uniform_prompts_and_across_makes_mixed_ones():
    kind = np.arange(60) % 6
    vectors = np.eye(6, dtype=np.float32)[kind] + np.float32(0.01) * unit_vectors(60, d=6)
    within, _ = cluster(vectors, params(mode=Mode.WITHIN, candidates_per_prompt=10), 0)
    across, _ = cluster(vectors, params(mode=Mode.ACROSS, candidates_per_prompt=6), 0)
    assert [len(set(kind[prompt])) for prompt in within] == [1] * 6
    assert [len(set(kind[prompt])) for prompt in across] == [6] * 10


def test_in_paper_mode_each_round_of_turns_is_a_prompt_and_slots_follow_the_clusters():
    prompts, partition = cluster(
        unit_vectors(70), params(mode=Mode.PAPER, candidates_per_prompt=7), 1
    )
    rounds = np.stack(partition.clusters, axis=1)
    assert (np.stack(prompts) == rounds).all()


@each_mode
def test_the_same_seed_gives_the_same_prompts_and_another_seed_different_ones(mode):
    vectors = unit_vectors(100)
    first, again, other = (
        np.concatenate(cluster(vectors, params(mode=mode), seed).prompts) for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_lengths_count_the_context_of_a_record(tmp_path):
    turns = json.dumps([{"role": "user", "content": "Größe?"}, {"role": "tool", "content": "7"}])
    texts = [("Q", ""), ("Q", "I"), ("Q", "", "Be kind."), ("Q", "é", None, turns, "[{}]")]
    rows = [dict(zip(TEXT_COLUMNS, text, strict=False)) for text in texts]
    common = {"source": "p:1", "extra": "{}"}
    rows = [row | common | {"id": f"{i:016x}"} for i, row in enumerate(rows)]
    space = StepWorkspace(tmp_path)
    space.write("ingest/pool.parquet", rows, POOL)
    ids = pa.chunked_array([[row["id"] for row in rows]], pa.string())
    path = tmp_path / "data/ingest/pool.parquet"
    lengths = text_lengths(path, path, ids)
    assert lengths.tolist() == [len(record_text(*text).encode()) for text in texts]


# The step


def run(root, vectors, n_ids=None, seed=0, **changes):
    """Run the step; return the rows of prompts.parquet and the content of clusters.json."""
    space = StepWorkspace(root)
    ids = [{"id": f"{i:016x}"} for i in range(len(vectors) if n_ids is None else n_ids)]
    same = {"instruction": "Do it.", "input": "", "output": None, "source": "p:1", "extra": "{}"}
    space.write("ingest/pool.parquet", [row | same for row in ids], POOL)
    space.write("dedupe/unique.parquet", ids, UNIQUE)
    np.save(space.file("embed/vectors.npy"), vectors)
    space.update(seed=seed, cluster=SECTION | changes)
    Stage("cluster", root).run(work)
    rows = read_table(root / "data/cluster/prompts.parquet", PROMPTS).to_pylist()
    return rows, json.loads((root / "data/cluster/clusters.json").read_text())


@each_mode
def test_the_table_numbers_prompts_slots_and_clusters_from_one_in_order(tmp_path, mode):
    vectors = unit_vectors(31)
    rows, _ = run(tmp_path, vectors, mode=mode.value, candidates_per_prompt=7)
    places = [(row["prompt"], row["slot"]) for row in rows]
    sizes = [7, 6, 6, 6, 6]
    assert places == [(p, s) for p, size in enumerate(sizes, 1) for s in range(1, size + 1)]
    assert {row["cluster"] for row in rows} == set(range(1, (5 if mode is Mode.WITHIN else 7) + 1))
    lengths = np.full(31, len("Do it."))
    prompts, partition = cluster(vectors, params(mode=mode, candidates_per_prompt=7), 0, lengths)
    order = np.concatenate(prompts)
    assert [int(row["id"], 16) for row in rows] == list(order)
    assert [row["cluster"] for row in rows] == list(partition.labels[order] + 1)


QUICK = "up to 40,000, k-means-constrained is quick"


@pytest.mark.parametrize(
    ("mode", "wanted", "solver", "n_clusters", "reason"),
    [
        ("within", "auto", "k_means_constrained", 3, f"40 records x 3 clusters = 120; {QUICK}"),
        ("across", "auto", "k_means_constrained", 14, f"40 records x 14 clusters = 560; {QUICK}"),
        ("within", "balanced", "balanced", 3, "cluster.solver is balanced"),
        (
            *("across", "k_means_constrained", "k_means_constrained", 14),
            "cluster.solver is k_means_constrained",
        ),
        (
            *("paper", "auto", "round_robin", 14),
            "cluster.mode is paper, which uses plain k-means and ignores cluster.solver",
        ),
    ],
)
def test_the_summary_describes_the_clusters_and_their_solver(  # noqa: PLR0917
    tmp_path, mode, wanted, solver, n_clusters, reason, caplog
):
    caplog.set_level("INFO", "selectllm")
    rows, summary = run(tmp_path, unit_vectors(40), seed=5, mode=mode, solver=wanted)
    assert f"from {solver}: {reason}" in caplog.text
    in_clusters = [row["cluster"] for row in rows]
    inertia = summary.pop("inertia")
    assert 0 < inertia < 40
    assert inertia == float(f"{inertia:.6g}")
    assert summary == {
        "mode": mode,
        "solver": solver,
        "solver_reason": reason,
        "seed": 5,
        "n_records": 40,
        "n_prompts": 3,
        "n_earlier_prompts": 0,
        "n_clusters": n_clusters,
        "candidates_per_prompt": 14,
        "cluster_sizes": [in_clusters.count(c + 1) for c in range(n_clusters)],
    }


@each_mode
def test_the_summary_has_the_given_number_of_prompts_and_the_derived_size(tmp_path, mode):
    given = {"mode": mode.value, "candidates_per_prompt": None, "n_prompts": 9}
    rows, summary = run(tmp_path, unit_vectors(40), **given)
    assert {row["prompt"] for row in rows} == set(range(1, 10))
    assert (summary["n_prompts"], summary["candidates_per_prompt"]) == (9, 5)
    assert summary["n_clusters"] == (9 if mode is Mode.WITHIN else 5)


@each_mode
def test_outputs_have_the_same_bytes_each_time(tmp_path, mode):
    def files():
        run(tmp_path, unit_vectors(40), mode=mode.value)
        return [path.read_bytes() for path in sorted((tmp_path / "data/cluster").iterdir())]

    assert files() == files()


# Faults of a user


def test_vectors_of_the_wrong_number_of_records_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"vectors for 9 records, found float32 of shape \(8, 8\)"):
        run(tmp_path, unit_vectors(8), n_ids=9)


@pytest.mark.parametrize("vectors", [np.zeros((3, 2)), np.zeros(3, np.float32)])
def test_vectors_of_the_wrong_type_or_shape_are_refused(tmp_path, vectors):
    np.save(tmp_path / "vectors.npy", vectors)
    with pytest.raises(DataError, match="expected float32 vectors for 3 records"):
        finite_vectors(tmp_path / "vectors.npy", ["a", "b", "c"])


@pytest.mark.parametrize("content", [b"", b"no array"])
def test_a_file_without_an_array_is_refused(tmp_path, content):
    (tmp_path / "vectors.npy").write_bytes(content)
    with pytest.raises(DataError, match="not readable"):
        finite_vectors(tmp_path / "vectors.npy", ["a"])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_refused_with_the_id_of_its_record(
    tmp_path, value, monkeypatch
):
    monkeypatch.setattr("tasks.cluster.inputs.BLOCK", 2)
    vectors = unit_vectors(5)
    vectors[3, 1] = value
    np.save(tmp_path / "vectors.npy", vectors)
    with pytest.raises(DataError, match="record d is not finite") as caught:
        finite_vectors(tmp_path / "vectors.npy", list("abcde"))
    assert caught.value.where.endswith("vectors.npy: row 3")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["within", "across"])
def test_insufficient_memory_is_refused_early_and_the_error_says_how_much_is_needed(tmp_path, mode):
    with pytest.raises(ParamError, match=r"need (\d+) MB, but the limit is 1 MB") as caught:
        run(tmp_path, unit_vectors(20_000, d=2), mode=mode, max_memory_mb=1)
    needed = int(re.search(r"need (\d+) MB", str(caught.value))[1])
    assert caught.value.fix == f"Set it to {needed} or more."
    run(tmp_path, unit_vectors(20_000, d=2), mode=mode, max_memory_mb=needed)


def test_a_number_of_prompts_above_half_the_records_is_refused(tmp_path):
    with pytest.raises(ParamError, match=r"n_prompts is 9, .* of the 17 records\n.* from 1 to 8"):
        run(tmp_path, unit_vectors(17), candidates_per_prompt=None, n_prompts=9)


def test_if_k_means_constrained_needs_too_much_memory_the_fix_offers_balanced(
    tmp_path,
):
    vectors = unit_vectors(3000, d=2)
    with pytest.raises(
        ParamError, match=r"3000 records in 215 clusters need 97 MB, but the limit is 60 MB"
    ) as caught:
        run(tmp_path, vectors, solver="k_means_constrained", max_memory_mb=60)
    assert caught.value.where.endswith("cluster.max_memory_mb")
    match = re.fullmatch(
        r"Set it to 97 or more, or set cluster.solver to balanced, which needs (\d+)\.",
        caught.value.fix,
    )
    run(tmp_path, vectors, solver="balanced", max_memory_mb=int(match[1]))


@pytest.mark.parametrize(("n", "is_slow"), [(742, False), (743, True)])
def test_a_slow_solver_runs_if_requested_and_its_cost_is_logged(tmp_path, n, is_slow, caplog):
    _, summary = run(tmp_path, unit_vectors(n, d=2), solver="k_means_constrained")
    assert summary["solver"] == "k_means_constrained"
    message = "k-means-constrained may take 1 s of processor time and"
    assert (message in caplog.text) is is_slow
    assert ("MB for 743 records in 54 clusters" in caplog.text) is is_slow


def test_an_empty_pool_is_refused(tmp_path):
    with pytest.raises(DataError, match="no unique records"):
        run(tmp_path, unit_vectors(0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "along"}, "cluster.mode: input should be 'within', 'across' or 'paper'"),
        ({"candidates_per_prompt": 1}, "cluster.candidates_per_prompt: input should be greater"),
        ({"candidates_per_prompt": 201}, "cluster.candidates_per_prompt: input should be less"),
        ({"candidates_per_prompt": "14"}, "cluster.candidates_per_prompt: input should be a valid"),
        ({"solver": "kmc"}, "cluster.solver: input should be 'auto', 'k_means_constrained' or"),
        ({"max_memory_mb": 0}, "cluster.max_memory_mb: input should be greater"),
        ({"max_memory": 1}, "cluster.max_memory is unknown; did you mean max_memory_mb"),
    ],
)
def test_an_invalid_section_is_refused_with_its_key(change, message):
    with pytest.raises(ParamError, match=message):
        check({"seed": 0, "cluster": SECTION | change})


@pytest.mark.parametrize("values", [{}, *({"seed": s} for s in (-1, 2**32, True, 1.0, "0", None))])
def test_a_seed_that_is_not_an_integer_in_range_is_refused(values):
    with pytest.raises(ParamError, match="seed: expected an integer"):
        check(values | {"cluster": SECTION})


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_the_smallest_and_the_largest_seed_are_accepted(seed):
    assert load_seed({"seed": seed}) == seed


def test_the_projects_own_section_is_valid():
    assert check(read_params(ROOT / "params.yaml"))
