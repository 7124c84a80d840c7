"""The measure step: every selection has its figures, compared with random ones."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tasks.lib.core.errors import DataError, ParamError
from tasks.lib.core.params import read_params
from tasks.lib.core.schemas import POOL, SELECTED, SELECTIONS, UNIQUE
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import write_table
from tasks.measure.step import check, work
from tasks.measure.summary import HIGHER_IS_BETTER, LOWER_IS_BETTER, as_csv
from tests.pools import unit_vectors
from tests.sound_run import FAIR
from tests.workspaces import StepWorkspace

ROOT = Path(__file__).parents[1]
SECTION = {"dimensions": 8, "shares": ["topic", "absent"], "n_test": 10, "n_resamples": 100}


OUTPUTS = [f"output number {i} {'x' * i}" for i in range(40)]


@pytest.fixture
def workspace(tmp_path):
    space = StepWorkspace(tmp_path)
    records = [
        {
            "id": f"{i:016x}", "instruction": f"Explain {i} {'big' if i % 2 else 'small'} things.",
            "input": "", "output": OUTPUTS[i], "source": f"pool:{i}",
            "extra": json.dumps({"topic": "a" if i < 20 else "b"}),
        }
        for i in range(40)
    ]  # fmt: skip
    space.write("ingest/pool.parquet", records, POOL)
    space.write("dedupe/unique.parquet", [{"id": record["id"]} for record in records], UNIQUE)
    np.save(space.file("embed/vectors.npy"), unit_vectors(40))
    provenance = {field.name: "x" if pa.types.is_string(field.type) else 1 for field in SELECTED}
    selected = [provenance | record for record in records[::4]]
    space.write("choose/selected.parquet", selected, SELECTED)
    usage = {**FAIR, "calls": 9, "usd": 0.25}
    usage |= {"prompt_tokens": 90, "completion_tokens": 8}
    space.write_json("llm_select/usage.json", usage)
    space.write_json("baseline/usage.json", {})
    select(tmp_path, {("random", 0): range(10), ("random", 1): range(5, 15), ("k", 0): range(10)})
    return tmp_path


def select(workspace, rows_by_run):
    rows = [
        {"method": method, "seed": seed, "rank": rank + 1, "id": f"{row:016x}"}
        for (method, seed), rows in rows_by_run.items()
        for rank, row in enumerate(rows)
    ]
    StepWorkspace(workspace).write("baseline/selections.parquet", rows, SELECTIONS)


def run(workspace, **changes):
    sections = {"llm_select": {"budget": [4, 10]}, "measure": SECTION | changes}
    StepWorkspace(workspace).update(seed=0, **sections)
    Stage("measure", workspace).run(work)
    return json.loads((workspace / "data/measure/metrics.json").read_text())


def test_columns_that_the_pool_lacks_are_named_with_similar_ones(workspace, caplog):
    caplog.set_level("INFO", "selectllm")
    run(workspace, shares=["topic", "topics", "lang"])
    assert "no column topics; did you mean topic?" in caplog.text
    assert "no column lang; its columns are: topic" in caplog.text
    assert "no column topic;" not in caplog.text


def test_every_selection_has_every_figure(workspace):
    document = run(workspace)
    spread = {"coverage_mean", "coverage_p95", "coverage_max", "facility_location", "redundancy"}
    spread |= {"vendi"}
    in_space = spread | {"knn_probe_rouge_l", "knn_probe_cosine"}
    in_text = {"distinct_2", "length_shift", "script_shift", "topic_shift"}
    assert set(document["methods"]) == {"llm_select", "random", "k"}
    for entry in document["methods"].values():
        assert set(entry["words"]) == set(entry["characters"]) == in_space
        assert set(entry["vectors"]) == in_space | {"novel_sum"}
        assert set(entry["outputs"]) == spread  # the probe would know the answers there
        assert set(entry["text"]) == in_text
        assert entry["n_records"] == 10
    assert document["methods"]["random"]["n_seeds"] == 2
    assert set(document["lower_is_better"]) == set(LOWER_IS_BETTER)
    assert in_space | in_text | {"novel_sum"} == {
        *LOWER_IS_BETTER, *HIGHER_IS_BETTER, "length_shift", "script_shift", "topic_shift"
    }  # fmt: skip


def test_the_table_for_dvc_plots_has_a_line_per_method_for_one_space(workspace):
    document = run(workspace)["methods"]
    lines = csv.DictReader(io.StringIO((workspace / "data/measure/figures.csv").read_text()))
    plotted = {line["method"]: line for line in lines}
    assert list(plotted) == ["llm_select", "random", "k"]
    for method, line in plotted.items():
        assert float(line["vendi"]) == document[method]["words"]["vendi"]["value"]
        assert line["n_records"] == "10"
    entry = {"n_records": 2, "words": {}}
    figure = {"value": 0.5}
    alone = as_csv({"a": entry | {"words": {"vendi": figure}}, "b": entry}, "words")
    assert alone == "method,n_records,vendi\na,2,0.5\nb,2,\n"


def test_curves_show_the_prefixes_of_every_selection(workspace):
    document = run(workspace)
    curves = document["curves"]
    assert curves["sizes"] == [4, 10]
    assert set(curves["methods"]) == {"llm_select", "random", "k"}
    for method, figures in curves["methods"].items():
        value = document["methods"][method]["words"]["coverage_mean"]["value"]
        small, whole = (point[0] for point in figures["words.coverage_mean"])
        assert small > whole == value


def test_the_same_records_have_the_same_figures_under_any_name(workspace):
    select(workspace, {("k", 0): range(0, 40, 4)})
    document = run(workspace)["methods"]
    ours, theirs = (
        {g: document[m][g] for g in ("text", "words", "vectors")} for m in ("llm_select", "k")
    )
    assert ours == theirs


def test_only_selections_by_a_models_answers_cost_anything(workspace):
    paid = {"calls": 40, "prompt_tokens": 400, "completion_tokens": 80, "usd": 0.25}
    (workspace / "data/baseline/usage.json").write_text(json.dumps({"random": paid}))
    document = run(workspace)["methods"]
    assert document["llm_select"]["cost"] == {
        "calls": 9, "prompt_tokens": 90, "completion_tokens": 8, "usd": 0.25
    }  # fmt: skip
    assert document["random"]["cost"] == paid
    assert set(document["k"]["cost"].values()) == {0}


def test_our_selection_is_measured_even_without_other_methods(workspace):
    select(workspace, {})
    assert list(run(workspace)["methods"]) == ["llm_select"]


def test_outputs_have_the_same_bytes_each_time(workspace):
    def content():
        run(workspace)
        return (workspace / "data/measure/metrics.json").read_bytes()

    assert content() == content()


def test_other_methods_are_measured_even_before_a_selection(workspace):
    write_table(workspace / "data/choose/selected.parquet", [], SELECTED)
    usage = workspace / "data/llm_select/usage.json"
    usage.write_text(json.dumps(json.loads(usage.read_text()) | {"partial": "max_usd"}))
    run(workspace)
    methods = json.loads((workspace / "data/measure/metrics.json").read_text())["methods"]
    assert "llm_select" not in methods
    assert "random" in methods


def test_an_empty_selection_is_refused(workspace):
    write_table(workspace / "data/choose/selected.parquet", [], SELECTED)
    with pytest.raises(DataError, match="the selection is empty"):
        run(workspace)


def test_a_selection_of_another_pool_is_refused(workspace):
    select(workspace, {("k", 0): [99]})
    with pytest.raises(DataError, match="record 0000000000000063 is not among the unique"):
        run(workspace)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dimensions": 1}, "measure.dimensions: input should be greater"),
        ({"n_test": -1}, "measure.n_test: input should be greater"),
        ({"n_resamples": 99}, "measure.n_resamples: input should be greater"),
        ({"shares": [""]}, "measure.shares.0: string should have at least 1 character"),
        ({"resamples": 99}, "measure.resamples is unknown; did you mean n_resamples"),
    ],
)
def test_an_invalid_section_is_refused_with_its_key(change, message):
    with pytest.raises(ParamError, match=message):
        check({"seed": 0, "measure": SECTION | change})


def test_the_projects_own_section_is_valid():
    assert check(read_params(ROOT / "params.yaml"))
