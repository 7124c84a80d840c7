"""Vectors belong to their records, are reproducible, and a model that cannot be had is named."""

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.errors import DataError, ParamError
from tasks.core.schemas import POOL, UNIQUE
from tasks.core.stage import Stage
from tasks.core.tables import write_table
from tasks.embed import Entry, check, embed, work
from tasks.encoders.precision import Precision
from tasks.encoders.source import Source, find_model
from tasks.encoders.vector_file import VectorFile

PROJECT = Path(__file__).parent.parent
SECTION = {
    "model": "all-MiniLM-L6-v2",
    "precision": "float32",
    "batch_size": 64,
    "max_tokens": 256,
}
TEXTS = [
    "Name three birds.",
    "Why is the sky blue?",
    "为什么天空是蓝色的？",
    "Write a letter to the editor about the price of bread. " * 4,
    "2+2",
    "Translate into French: the ferry came back. " * 9,
]


class Letters:
    """An encoder that counts letters; texts in `odd` get the vector that stands there."""

    dim = 26
    max_tokens = 5

    def __init__(self, **odd: float) -> None:
        self.odd = odd
        self.batches: list[list[str]] = []

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.batches.append(list(texts))
        rows = [
            [self.odd[t]] * 26 if t in self.odd else [t.count(chr(97 + i)) for i in range(26)]
            for t in texts
        ]
        return np.array(rows, dtype=np.float32)


def entries(texts: Sequence[str]) -> list[Entry]:
    return [Entry(f"r{i}", text) for i, text in enumerate(texts)]


def vectors_of(texts: Sequence[str], encoder, batch_size: int = 64) -> np.ndarray:
    """All vectors in order; a row that never came stays 0."""
    found = np.zeros((len(texts), encoder.dim), dtype=np.float32)
    for rows, vectors in embed(entries(texts), list(map(len, texts)), encoder, batch_size):
        assert vectors.dtype == np.float32
        found[rows] = vectors
    return found


@pytest.fixture(scope="module")
def load():
    from tasks.encoders.sentence import SentenceEncoder  # noqa: PLC0415  takes seconds

    def make(precision: Precision = Precision.FLOAT32, max_tokens: int = 256):
        return SentenceEncoder(find_model("all-MiniLM-L6-v2"), precision, max_tokens)

    return make


@pytest.fixture(scope="module")
def minilm(load):
    return load()


# --- any encoder ---


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text("abc", min_size=1, max_size=9), max_size=20), st.integers(1, 7))
def test_each_row_comes_once_with_its_own_vector(texts, batch_size):
    blocks = list(embed(entries(texts), list(map(len, texts)), Letters(), batch_size))
    rows = [row for block in blocks for row in block.rows.tolist()]
    assert sorted(rows) == list(range(len(texts)))
    for block in blocks:
        expected = Letters().encode([texts[row] for row in block.rows])
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(block.vectors, expected, rtol=1e-6)


def test_texts_of_like_length_share_a_batch_and_the_longest_come_first():
    encoder = Letters()
    vectors_of(["a", "aaaa", "aa", "aaaaa", "b"], encoder, batch_size=2)
    assert encoder.batches == [["aaaaa", "aaaa"], ["aa", "a"], ["b"]]


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_a_vector_without_direction_names_its_record(value):
    with pytest.raises(DataError, match="record r2"):
        vectors_of(["ab", "cd", "faulty", "ef"], Letters(faulty=value))


def test_a_vector_file_has_the_bytes_that_numpy_would_write(tmp_path):
    rows = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    np.save(tmp_path / "expected.npy", rows)
    with VectorFile(tmp_path / "found.npy", 7, 5) as file:
        for some in ([3, 1, 6], [0], [5, 4, 2]):
            file.put(np.array(some), rows[some])
    assert (tmp_path / "found.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()


# --- the packaged model ---


def test_vectors_are_of_unit_norm_and_alike_where_texts_are(minilm):
    vectors = vectors_of([*TEXTS, "How come that the sky is blue?"], minilm)
    assert vectors.shape == (7, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert np.argmax(vectors[:6] @ vectors[6]) == 1


def test_a_text_keeps_its_vector_in_any_order_and_batch(minilm):
    expected = vectors_of(TEXTS, minilm)
    order = list(range(len(TEXTS)))
    random.Random(0).shuffle(order)
    for batch_size in (1, 4):
        shuffled = vectors_of([TEXTS[i] for i in order], minilm, batch_size)
        cosines = (shuffled * expected[order]).sum(axis=1)
        np.testing.assert_allclose(cosines, 1, atol=1e-5)


def test_the_same_texts_give_the_same_bytes(minilm):
    assert vectors_of(TEXTS, minilm).tobytes() == vectors_of(TEXTS, minilm).tobytes()


def test_no_more_is_read_than_the_model_can_and_the_setting_says(load, minilm):
    assert load(max_tokens=512).max_tokens == 256
    short = load(max_tokens=8)
    assert short.max_tokens == 8
    alike = ["one two three four five six" + tail for tail in (" seven", " eight nine ten")]
    assert np.array_equal(*short.encode(alike))
    assert not np.array_equal(*minilm.encode(alike))
    assert minilm.n_tokens(["one two", "one " * 500]) == [4, 502]


def test_bfloat16_moves_no_vector_far(load, minilm):
    vectors = vectors_of(TEXTS, load(Precision.BFLOAT16))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    cosines = (vectors * vectors_of(TEXTS, minilm)).sum(axis=1)
    assert (cosines > 0.999).all()
    assert (cosines < 1 - 1e-6).any()


def test_auto_is_decided_by_the_processor(load):
    assert load(Precision.AUTO).precision in (Precision.FLOAT32, Precision.BFLOAT16)


# --- where a model comes from ---


@pytest.mark.parametrize(
    "name", ["all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2", "all-minilm-l6-v2"]
)
def test_the_packaged_model_is_found_by_its_names(name):
    folder, is_local = find_model(name)
    assert is_local
    assert (Path(folder) / "model.safetensors").is_file()


def test_a_folder_is_a_model(load, minilm):
    folder = find_model("all-MiniLM-L6-v2").name_or_folder
    assert check({"embed": {**SECTION, "model": folder}}).model == folder
    assert find_model(folder) == Source(folder, is_local=True)


def test_a_folder_that_holds_no_model_is_refused(load, tmp_path):
    from tasks.encoders.sentence import SentenceEncoder  # noqa: PLC0415

    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DataError, match="cannot be loaded"):
        SentenceEncoder(find_model(str(tmp_path)), Precision.FLOAT32, 256)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "./nowhere"}, "no folder './nowhere'"),
        ({"model": "not a name"}, "no folder 'not a name'"),
        ({"model": ""}, r"embed\.model"),
        ({"precision": "float16"}, r"embed\.precision: .*bfloat16"),
        ({"batch_size": 0}, r"embed\.batch_size"),
        ({"max_tokens": "256"}, r"embed\.max_tokens"),
        ({"batchsize": 8}, r"did you mean batch_size\?"),
    ],
)
def test_a_wrong_setting_is_named_before_anything_runs(change, message):
    with pytest.raises(ParamError, match=message):
        check({"embed": {**SECTION, **change}})


# --- the step ---


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(PROJECT / name, tmp_path / name)
    row = {"output": None, "source": "x.jsonl:1", "extra": "{}"}
    rows = [
        {**row, "id": f"r{i}", "instruction": text, "input": "Be brief." if i == 1 else ""}
        for i, text in enumerate(TEXTS)
    ]
    for folder in ("ingest", "dedupe"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    write_table(tmp_path / "data/ingest/pool.parquet", rows, POOL)
    set_unique(tmp_path, "r0", "r1", "r3", "r4")
    return tmp_path


def set_unique(workspace: Path, *ids: str) -> None:
    write_table(workspace / "data/dedupe/unique.parquet", [{"id": i} for i in ids], UNIQUE)


def set_model(workspace: Path, name: str) -> None:
    params = workspace / "params.yaml"
    params.write_text(params.read_text().replace("model: all-MiniLM-L6-v2", f"model: {name}"))


def test_row_i_is_the_vector_of_the_ith_unique_record(workspace, minilm):
    Stage("embed", workspace).run(work)
    found = np.load(workspace / "data/embed/vectors.npy")
    texts = [TEXTS[0], TEXTS[1] + "\n\nBe brief.", TEXTS[3], TEXTS[4]]
    assert (found.dtype, found.shape) == (np.float32, (4, 384))
    np.testing.assert_allclose(found, vectors_of(texts, minilm), atol=1e-6)


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


def test_a_model_that_the_hub_does_not_know_is_a_mistake_in_params(workspace, empty_hub):
    set_model(workspace, "all-MiniLM-L6-v3")
    done = run_step(workspace, empty_hub)
    assert done.returncode == 2
    assert "sentence-transformers/all-MiniLM-L6-v3 is no folder here and no public" in done.stderr
    assert "Traceback" not in done.stderr
