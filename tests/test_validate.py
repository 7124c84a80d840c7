"""The validate step: a sound run meets every expectation, and a faulty one is refused."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from tasks.lib.core import schemas
from tasks.lib.core.errors import CheckFailed, DataError, ParamError
from tasks.lib.core.records import record_id
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import write_table
from tasks.lib.documents.validation import Finding, ValidationResult
from tasks.validate.artifacts import row_norms
from tasks.validate.step import check, validate, work
from tests.sound_run import (
    BIASED,
    CLUSTERS,
    FAIR,
    FILES,
    IDS,
    INSTRUCTIONS,
    LIMITS,
    Row,
    Run,
    findings_of,
    sound,
)
from tests.workspaces import PROJECT


def test_a_sound_run_meets_every_expectation(sound_result: ValidationResult):
    assert sound_result.failed == []
    assert {finding.detail for finding in sound_result.expectations} == {""}


def test_a_record_that_was_set_aside_is_sound_until_it_is_selected(sound_result: ValidationResult):
    run = sound()
    run.ballots[6] |= {"set_aside": "content_filter", "rank": None, "score": 0.0, "votes": 0}
    assert all(finding.success for finding in findings_of(run, "ballots"))
    unmet = [f.expectation for f in findings_of(run, "selected") if not f.success]
    assert unmet == ["Each record was judged"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "slots",
    [{**BIASED, "p_value": 0.4}, {**BIASED, "p_value": None}, {**BIASED, "is_shuffled": False}],
    ids=["accident", "too few prompts", "paper mode"],
)
def test_a_position_bias_that_may_be_chance_is_not_a_fault(slots: Row):
    run = sound()
    run.usage["slots"] = slots
    assert validate(run.artifacts(), LIMITS).result.failed == []


@pytest.mark.slow
def test_a_fault_of_the_judge_is_a_warning_if_params_allow_it():
    run = sound()
    run.usage["slots"] = BIASED
    result = validate(run.artifacts(), replace(LIMITS, is_judge_strict=False)).result
    assert result.failed == []
    (warning,) = result.warnings
    assert "position bias" in warning.detail


@pytest.mark.slow
def test_a_few_near_duplicates_are_a_warning_and_more_are_a_fault():
    run = sound()
    duplicate = run.rows["selected"][1]
    duplicate["instruction"], duplicate["input"] = INSTRUCTIONS[8], ""
    duplicate["id"] = record_id(duplicate["instruction"], "")

    def details(share: float | None) -> tuple[list[str], list[str]]:
        result = validate(run.artifacts(), replace(LIMITS, max_near_rate=share)).result
        return tuple(
            [finding.detail for finding in findings if "near_to" in finding.detail]
            for findings in (result.failed, result.warnings)
        )

    detail = f"1 of 4 rows: id {duplicate['id']}, near_to {IDS[1]} by 0.897"
    assert details(0.25) == ([], [detail])
    assert details(0.2) == ([detail], [detail])
    assert details(None) == ([], [detail])  # dedupe.near is report


@pytest.mark.slow
def test_a_partial_selection_is_sound_and_labelled():
    run = sound()
    del run.rows["selected"][2], run.rows["ballots"][5:]
    run.usage |= {"partial": "max_usd", "n_prompts": 2, "methods": {"llm": 2}}
    limits = replace(LIMITS, n_selected=3)
    result = validate(run.artifacts(), limits).result
    assert result.failed == []
    assert json.loads(result.to_json())["partial"] == "max_usd"
    run.usage["n_prompts"] = 3
    assert {f.table for f in validate(run.artifacts(), limits).result.failed} == {"reported"}


def test_the_funnel_adds_up(sound_result: ValidationResult):
    funnel = sound_result.funnel.model_dump()
    cut = funnel["excluded"] + funnel["faulty"] + funnel["repeated"]
    assert funnel["rows"] == cut + funnel["pool"]
    assert funnel["pool"] == funnel["duplicates"] + funnel["unique"]
    assert funnel == {
        **{"rows": 12, "excluded": 1, "faulty": 1, "repeated": 1, "pool": 9},
        **{"duplicates": 2, "unique": 7, "prompts": 3, "selected": 4},
    }
    assert sound_result.dropped == {
        "ingest": {"excluded": 1, "repeated": 1, "nul": 1},
        "dedupe": {"identical": 1, "near": 1},
    }


@pytest.mark.slow
def test_a_run_without_any_record_is_refused_and_does_not_crash():
    empty = Run(
        rows={name: [] for name in FILES},
        clusters={**CLUSTERS, "n_records": 0, "n_prompts": 0},
        usage={**FAIR, "n_prompts": 0, "n_prompts_planned": 0, "methods": {}},
        vectors=np.empty((0, 7), dtype=np.float32),
        n_rows=0,
    )
    failed = validate(empty.artifacts(), LIMITS).result.failed
    assert {finding.table for finding in failed} == {"stages", "selected"}


def test_an_expectation_that_cannot_be_evaluated_is_not_met(sound_result: ValidationResult):
    from tasks.validate.gx import run_gx  # noqa: PLC0415
    from tasks.validate.gx_names import distinct  # noqa: PLC0415
    from tasks.validate.table import Table  # noqa: PLC0415

    table = Table(pd.DataFrame({"id": ["a"]}), ["id"])
    (finding,) = run_gx({"t": table}, {"t": [distinct("mood", "No mood twice")]}).findings
    assert not finding.success
    assert "could not be evaluated" in finding.detail
    assert "mood" in finding.detail


def test_at_most_ten_rows_are_named(sound_result: ValidationResult):
    run = sound()
    for row in run.ingest_dropped:
        row["reason"] = "boring"
    run.rows["ingest_dropped"] = run.ingest_dropped * 5
    (finding,) = findings_of(run, "ingest_dropped")
    assert finding.detail.startswith("15 of 15 rows: line 10")
    assert finding.detail.count("line ") == 10


def pages_of(docs: Path) -> list[str]:
    return [page.read_text() for page in docs.rglob("validations/**/*.html")]


@pytest.mark.slow
def test_a_faulty_run_stops_with_what_is_wrong_and_where_to_look(tmp_path: Path):
    run = sound()
    run.selected[1]["cluster"] = 3
    stage = run.write(tmp_path)
    with pytest.raises(CheckFailed) as caught:
        stage.run(work)
    failed_file = tmp_path / ".selectllm" / "failed_validation.json"
    message = str(caught.value)
    assert "1 of 68 expectations are not met" in message
    assert f"selected: The cluster agrees with the prompts: 1 of 4 rows: id {IDS[3]}" in message
    assert str(failed_file) in message
    assert str(tmp_path / ".selectllm" / "data_docs" / "index.html") in message
    assert caught.value.exit_code == 1
    assert json.loads(failed_file.read_text())["success"] is False
    assert not (tmp_path / "data/validate/result.json").exists()


@pytest.mark.slow
def test_a_run_logs_two_lines_writes_the_same_each_time_and_leaves_nothing_elsewhere(
    tmp_path: Path,
):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    elsewhere.mkdir()
    state, result_file = root / ".selectllm", root / "data/validate/result.json"
    state.mkdir(parents=True)
    (state / "failed_validation.json").write_text("of an earlier run")
    sound().write(root)
    homes = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME"), str(elsewhere))
    done = subprocess.run(
        [sys.executable, "-m", "tasks.validate"],
        cwd=root,
        env=os.environ | homes | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    docs = state / "data_docs"
    said = [f"validate: Data Docs are in {docs / 'index.html'}"]
    assert done.stderr.splitlines() == [*said, "validate: 68 of 68 expectations are met"]
    assert (done.returncode, done.stdout, list(elsewhere.iterdir())) == (0, "", [])

    text = result_file.read_text()
    result = json.loads(text)
    assert text == json.dumps(result, indent=2, sort_keys=True) + "\n"
    assert set(result) == {"success", "partial", "funnel", "dropped", "expectations"}
    assert result["success"] is True
    assert set(result["expectations"][0]) == set(Finding.model_fields)
    assert "Each vector has unit norm" in "".join(pages_of(docs))
    for page in docs.rglob("*.html"):
        assert not re.search(r"<(script|link|img)|@import|url\(", page.read_text()), page
        assert "default-src 'none'" in page.read_text()
    index = (docs / "index.html").read_text()
    assert "68 of 68 expectations are met" in index
    links = re.findall(r'href="([^"]*)"', index)
    assert links
    assert all((docs / link).is_file() for link in links)

    Stage("validate", root).run(work)
    assert result_file.read_text() == text
    assert len(pages_of(docs)) == len({finding["table"] for finding in result["expectations"]})
    assert [path.name for path in result_file.parent.iterdir()] == ["result.json"]
    assert {path.name for path in state.iterdir()} <= {"data_docs", "step.lock"}
    assert {path.name for path in root.iterdir()} == {
        *(".selectllm", "data", "dvc.yaml", "params.yaml")
    }


@pytest.mark.slow
def test_checking_the_section_loads_no_heavy_library():
    code = (
        "import sys; from pathlib import Path; from tasks.lib.core.params import read_params;"
        "from tasks.validate.step import check; check(read_params(Path('params.yaml')));"
        "print([name for name in ('great_expectations', 'pandas', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("key", "value"),
    [("max_fallback_rate", 1.1), ("max_fallback_rate", -0.1), ("max_chars", 0), ("max_chars", 2.5)],
)
def test_a_value_out_of_range_is_refused_by_name(key: str, value: float):
    section = YAML(typ="safe").load(PROJECT / "params.yaml")["validate"] | {key: value}
    with pytest.raises(ParamError, match=f"validate.{key}"):
        check({"validate": section})


def test_a_pool_without_its_number_of_rows_is_refused(tmp_path: Path):
    stage = sound().write(tmp_path)
    write_table(tmp_path / "data/ingest/pool.parquet", sound().pool, schemas.POOL)
    with pytest.raises(DataError, match="n_rows"):
        stage.run(work)


def test_a_usage_file_without_a_field_is_refused(tmp_path: Path):
    run = sound()
    del run.usage["n_prompts"]
    with pytest.raises(DataError, match="the field n_prompts is missing"):
        run.write(tmp_path).run(work)


@pytest.mark.parametrize("content", [b"", b"text", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_not_a_matrix_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "vectors.npy").write_bytes(content)
    with pytest.raises(DataError, match="not readable"):
        row_norms(tmp_path / "vectors.npy")


@pytest.mark.parametrize("array", [np.zeros(3, dtype=np.float32), np.zeros((3, 2))])
def test_a_matrix_of_another_shape_or_type_is_refused(tmp_path: Path, array: Any):
    np.save(tmp_path / "vectors.npy", array)
    with pytest.raises(DataError, match="expected float32 vectors"):
        row_norms(tmp_path / "vectors.npy")


def test_norms_cover_all_blocks(tmp_path: Path):
    vectors = np.random.default_rng(0).normal(size=(40_000, 3)).astype(np.float32)
    np.save(tmp_path / "vectors.npy", vectors)
    expected = np.linalg.norm(vectors.astype(float), axis=1)
    np.testing.assert_allclose(row_norms(tmp_path / "vectors.npy"), expected)
