"""The embed step: row i is the vector of record i, new or stored, and no vector is lost."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest

from tasks.embed.step import work
from tasks.embed.vector_cache import VectorCache
from tasks.lib.core.errors import DataError, ParamError
from tasks.lib.core.schemas import POOL, UNIQUE
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import write_table
from tests.conftest import PROJECT
from tests.encoding import TEXTS, vectors_of
from tests.exchange import Response
from tests.fake_provider import FakeProvider
from tests.workspaces import PATIENCE_S, StepWorkspace

ENV = {**os.environ, "PYTHONPATH": str(PROJECT)}
ROW = {"input": "", "output": None, "source": "x.jsonl:1", "extra": "{}"}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    space = StepWorkspace(tmp_path)
    space.update(llm_select={"budget": 1})
    rows = [
        {**ROW, "id": f"r{i}", "instruction": text, "input": "Be brief." if i == 1 else ""}
        for i, text in enumerate(TEXTS)
    ]
    space.write_no_references(0)
    space.write("ingest/pool.parquet", rows, POOL)
    set_unique(tmp_path, "r0", "r1", "r3", "r4")
    return tmp_path


def set_unique(workspace: Path, *ids: str) -> None:
    StepWorkspace(workspace).write("dedupe/unique.parquet", [{"id": i} for i in ids], UNIQUE)


def set_model(workspace: Path, name: str) -> None:
    StepWorkspace(workspace).update(embed={"model": name})


def embed_pool(workspace: Path) -> bytes:
    """Run the step; return the bytes of its output."""
    Stage("embed", workspace).run(work)
    return (workspace / "data/embed/vectors.npy").read_bytes()


def n_stored(workspace: Path) -> int:
    """Return the number of stored vectors, 0 if there is no table yet."""
    for path in workspace.glob(".selectllm/vectors/*/vectors.sqlite"):
        with closing(sqlite3.connect(path)) as db, suppress(sqlite3.OperationalError):
            return int(db.execute("SELECT count(*) FROM vectors").fetchone()[0])
    return 0


@pytest.mark.slow
def test_row_i_is_the_vector_of_the_ith_unique_record(workspace, load):
    embed_pool(workspace)
    vectors = np.load(workspace / "data/embed/vectors.npy")
    texts = [TEXTS[0], TEXTS[1] + "\n\nBe brief.", TEXTS[3], TEXTS[4]]
    assert (vectors.dtype, vectors.shape) == (np.float32, (4, 384))
    assert vectors.tobytes() == vectors_of(texts, load(batch_tokens=256)).tobytes()


@pytest.mark.slow
def test_a_grown_pool_embeds_only_new_texts_and_gets_the_bytes_of_a_fresh_run(workspace, caplog):
    caplog.set_level("INFO", "selectllm")
    embed_pool(workspace)
    set_unique(workspace, "r5", "r0", "r1", "r3", "r4")
    grown = embed_pool(workspace)
    assert "5 texts, 1 of them new" in caplog.text
    assert embed_pool(workspace) == grown
    assert "5 texts, 0 of them new" in caplog.text
    shutil.rmtree(workspace / ".selectllm/vectors")
    assert embed_pool(workspace) == grown
    assert "5 texts, 5 of them new" in caplog.text


@pytest.mark.slow
def test_a_machine_that_computes_different_bits_embeds_all_texts_again(
    workspace, caplog, monkeypatch
):
    expected = embed_pool(workspace)
    with monkeypatch.context() as patch:
        put = VectorCache.put
        nudged = np.float32(2)
        patch.setattr(VectorCache, "put", lambda c, k, v: put(c, k, np.nextafter(v, nudged)))
        shutil.rmtree(workspace / ".selectllm/vectors")
        assert embed_pool(workspace) != expected
    assert embed_pool(workspace) == expected
    assert "this machine computes different vectors" in caplog.text


@pytest.mark.slow
def test_a_killed_embed_continues_from_the_stored_vectors(workspace):
    rows = [
        {**ROW, "id": f"k{i}", "instruction": f"Say {i} " + "and again " * (i % 9)}
        for i in range(100)
    ]
    write_table(workspace / "data/ingest/pool.parquet", rows, POOL)
    set_unique(workspace, *(row["id"] for row in rows))
    step = subprocess.Popen([sys.executable, "-m", "tasks.embed"], cwd=workspace, env=ENV)
    try:
        while not n_stored(workspace):
            assert step.poll() is None
            time.sleep(0.01)
    finally:
        step.kill()
        step.wait()
    assert 0 < n_stored(workspace) < 100
    embed_pool(workspace)
    assert n_stored(workspace) == 100
    assert not (workspace / "data/embed/.vectors.npy.part").exists()


@pytest.mark.slow
def test_a_full_disk_is_reported_and_leaves_only_complete_vectors(workspace):
    limit = f"ulimit -f 4; exec {sys.executable} -m tasks.embed"  # KiB; three vectors are more
    done = subprocess.run(
        ["bash", "-c", limit], cwd=workspace, env=ENV, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert ".selectllm/vectors" in done.stderr
    assert "Check that the disk has room" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (workspace / "data/embed/vectors.npy").exists()
    embed_pool(workspace)
    assert n_stored(workspace) == 4


@pytest.mark.parametrize("ids", [[], ["r0", "elsewhere"]])
def test_unique_records_that_are_not_in_the_pool_are_refused(workspace, ids):
    set_unique(workspace, *ids)
    with pytest.raises(DataError, match="dvc repro dedupe"):
        Stage("embed", workspace).run(work)


def run_step(workspace: Path, hub: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tasks.embed"],
        cwd=workspace,
        env=ENV | {"HF_ENDPOINT": hub, "HF_HOME": str(workspace / "hub"), "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_an_unreachable_hub_is_reported_at_once(workspace):
    set_model(workspace, "some/model")
    start = time.monotonic()
    done = run_step(workspace, "http://127.0.0.1:9")
    assert time.monotonic() - start < PATIENCE_S
    assert done.returncode == 2
    assert "some/model is not a folder, and the model hub cannot be reached" in done.stderr
    assert "all-MiniLM-L6-v2, which needs no network" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (workspace / "data/embed/vectors.npy").exists()


@pytest.mark.parametrize(
    ("section", "changes", "message"),
    [
        ("llm_select", {"budget": 5}, "budget is 5, but there are only 4 records"),
        (
            "cluster",
            {"candidates_per_prompt": None, "n_prompts": 3},
            "n_prompts is 3, .*from 1 to 2",
        ),
        ("cluster", {"candidates_per_prompt": 2, "mode": "paper"}, "each of the 2 prompts"),
    ],
)
def test_parameters_that_do_not_fit_the_records_are_refused_before_a_model_is_loaded(
    workspace, section, changes, message
):
    StepWorkspace(workspace).update(**{section: changes})
    set_model(workspace, "all-MiniLM-L6-v3")  # no such model: loading it would be another error
    with pytest.raises(ParamError, match=f"(?s){message}"):
        embed_pool(workspace)


@pytest.mark.slow
def test_a_model_that_the_hub_does_not_have_is_an_error_in_params(workspace):
    set_model(workspace, "all-MiniLM-L6-v3")
    unknown = Response(404, headers={"X-Error-Code": "RepoNotFound"})
    with FakeProvider(lambda call: unknown) as hub:
        done = run_step(workspace, hub.origin)
    assert done.returncode == 2
    assert "sentence-transformers/all-MiniLM-L6-v3 is neither a folder nor a public" in done.stderr
    assert "Traceback" not in done.stderr
