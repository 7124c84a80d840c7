"""Row i is the vector of record i, fresh or stored, and nothing computed is lost."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.dvc.graph import load_yaml
from tasks.embed.step import work
from tasks.lib.core.errors import DataError, ParamError
from tasks.lib.core.schemas import POOL, UNIQUE
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import write_table
from tests.conftest import PROJECT
from tests.encoding import TEXTS, vectors_of

ENV = {**os.environ, "PYTHONPATH": str(PROJECT)}
SLOT = np.dtype([("key", "S16"), ("vector", "<f4", (384,)), ("crc", "<u4")])
ROW = {"input": "", "output": None, "source": "x.jsonl:1", "extra": "{}"}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(PROJECT / name, tmp_path / name)
    set_params(tmp_path, "llm_select", budget=1)
    rows = [
        {**ROW, "id": f"r{i}", "instruction": text, "input": "Be brief." if i == 1 else ""}
        for i, text in enumerate(TEXTS)
    ]
    for folder in ("ingest", "dedupe"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    write_table(tmp_path / "data/ingest/pool.parquet", rows, POOL)
    set_unique(tmp_path, "r0", "r1", "r3", "r4")
    return tmp_path


def set_unique(workspace: Path, *ids: str) -> None:
    write_table(workspace / "data/dedupe/unique.parquet", [{"id": i} for i in ids], UNIQUE)


def set_params(workspace: Path, section: str, **changes: Any) -> None:
    path = workspace / "params.yaml"
    values = load_yaml(path)
    values[section] |= changes
    path.write_text(json.dumps(values))  # JSON is YAML


def set_model(workspace: Path, name: str) -> None:
    set_params(workspace, "embed", model=name)


def embed_pool(workspace: Path) -> bytes:
    """Run the step; the bytes of its output."""
    Stage("embed", workspace).run(work)
    return (workspace / "data/embed/vectors.npy").read_bytes()


def stored(workspace: Path) -> Path:
    """The one file of stored vectors."""
    (path,) = workspace.glob(".selectllm/vectors/*/vectors")
    return path


def test_row_i_is_the_vector_of_the_ith_unique_record(workspace, load):
    embed_pool(workspace)
    found = np.load(workspace / "data/embed/vectors.npy")
    texts = [TEXTS[0], TEXTS[1] + "\n\nBe brief.", TEXTS[3], TEXTS[4]]
    assert (found.dtype, found.shape) == (np.float32, (4, 384))
    assert found.tobytes() == vectors_of(texts, load(batch_tokens=256)).tobytes()


def test_a_pool_that_grew_embeds_what_is_new_and_has_the_bytes_of_a_fresh_one(workspace, caplog):
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


def test_a_store_with_other_bits_or_damage_changes_no_byte_of_the_output(workspace, caplog):
    expected = embed_pool(workspace)
    path = stored(workspace)
    whole = path.read_bytes()
    path.write_bytes(b"nonsense" * 300)
    assert embed_pool(workspace) == expected
    assert "damaged" in caplog.text
    slots = np.frombuffer(whole, SLOT).copy()
    slots["vector"] = np.nextafter(slots["vector"], np.float32(2))  # as another processor may
    for slot in slots:
        slot["crc"] = zlib.crc32(slot.tobytes()[:-4])
    path.write_bytes(slots.tobytes())
    assert embed_pool(workspace) == expected
    assert "this machine computes other vectors" in caplog.text


def test_an_embed_that_was_killed_goes_on_from_what_it_had(workspace, tmp_path):
    rows = [
        {**ROW, "id": f"k{i}", "instruction": f"Say {i} " + "and again " * (i % 9)}
        for i in range(400)
    ]
    write_table(workspace / "data/ingest/pool.parquet", rows, POOL)
    set_unique(workspace, *(row["id"] for row in rows))
    step = subprocess.Popen([sys.executable, "-m", "tasks.embed"], cwd=workspace, env=ENV)
    try:
        while not sum(p.stat().st_size for p in workspace.glob(".selectllm/vectors/*/vectors")):
            assert step.poll() is None
            time.sleep(0.01)
    finally:
        step.kill()
        step.wait()
    n_kept = stored(workspace).stat().st_size // SLOT.itemsize
    assert 0 < n_kept < 400
    embed_pool(workspace)
    assert stored(workspace).stat().st_size == 400 * SLOT.itemsize  # none is kept twice
    assert not (workspace / "data/embed/.vectors.npy.part").exists()


def test_a_full_disk_during_embed_is_told_and_leaves_whole_vectors_only(workspace):
    limit = f"ulimit -f 4; exec {sys.executable} -m tasks.embed"  # KiB; three vectors are more
    done = subprocess.run(
        ["bash", "-c", limit], cwd=workspace, env=ENV, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert ".selectllm/vectors" in done.stderr
    assert "Make room, then run this again." in done.stderr
    assert "Traceback" not in done.stderr
    assert not (workspace / "data/embed/vectors.npy").exists()
    embed_pool(workspace)
    assert stored(workspace).stat().st_size == 4 * SLOT.itemsize


@pytest.mark.parametrize("ids", [[], ["r0", "elsewhere"]])
def test_unique_records_that_are_not_in_the_pool_are_refused(workspace, ids):
    set_unique(workspace, *ids)
    with pytest.raises(DataError, match="dvc repro dedupe"):
        Stage("embed", workspace).run(work)


def run_step(workspace: Path, hub: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tasks.embed"],
        cwd=workspace,
        env={
            **os.environ,
            "PYTHONPATH": str(PROJECT),
            "HF_ENDPOINT": hub,
            "HF_HOME": str(workspace / "hub"),
            "NO_PROXY": "127.0.0.1",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_hub_out_of_reach_is_told_at_once(workspace):
    set_model(workspace, "some/model")
    start = time.monotonic()
    done = run_step(workspace, "http://127.0.0.1:9")
    assert time.monotonic() - start < 30
    assert done.returncode == 2
    assert "some/model is no folder here, and the model hub cannot be asked" in done.stderr
    assert "all-MiniLM-L6-v2, which needs no network" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (workspace / "data/embed/vectors.npy").exists()


class _Refuse(BaseHTTPRequestHandler):
    """A hub that knows no model."""

    def do_GET(self) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def empty_hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refuse)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("section", "changes", "message"),
    [
        ("llm_select", {"budget": 5}, "budget is 5, and only 4 records"),
        (
            "cluster",
            {"candidates_per_prompt": None, "n_prompts": 3},
            "n_prompts is 3, .*from 1 to 2",
        ),
        ("cluster", {"candidates_per_prompt": 2, "mode": "paper"}, "each of the 2 prompts"),
    ],
)
def test_what_the_records_do_not_allow_is_refused_before_a_model_is_loaded(
    workspace, section, changes, message
):
    set_params(workspace, section, **changes)
    set_model(workspace, "all-MiniLM-L6-v3")  # no such model: loading it would be another error
    with pytest.raises(ParamError, match=f"(?s){message}"):
        embed_pool(workspace)


def test_a_model_that_the_hub_does_not_know_is_a_mistake_in_params(workspace, empty_hub):
    set_model(workspace, "all-MiniLM-L6-v3")
    done = run_step(workspace, empty_hub)
    assert done.returncode == 2
    assert "sentence-transformers/all-MiniLM-L6-v3 is no folder here and no public" in done.stderr
    assert "Traceback" not in done.stderr
