"""Vectors belong to their records, are reproducible, and a model that cannot be had is named."""

import os
import random
import shutil
import subprocess
import sys
import threading
import time
import zlib
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
from tasks.embed import check, embed, work
from tasks.encoders.batches import Reading, padded_length
from tasks.encoders.blocks import blocks_of
from tasks.encoders.parallel import as_done
from tasks.encoders.pool_texts import Entry
from tasks.encoders.precision import Precision
from tasks.encoders.shards import Recipe, block_of, traits_of
from tasks.encoders.source import Source, absolute, digest, find_model, model_folder
from tasks.encoders.store import VectorStore, text_key
from tasks.encoders.vector_file import write_vectors

PROJECT = Path(__file__).parent.parent
MODEL = "all-MiniLM-L6-v2"
ROW = {"input": "", "output": None, "source": "x.jsonl:1", "extra": "{}"}
SLOT = np.dtype([("key", "S16"), ("vector", "<f4", (384,)), ("crc", "<u4")])
ENV = {**os.environ, "PYTHONPATH": str(PROJECT)}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ["bread", "ferry", "why", "translate", "2", "鸟", "antidisestablishmentarianism"]
SECTION = {
    "model": MODEL,
    "precision": "float32",
    "batch_tokens": 128,
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

    n_threads = 2

    def __init__(self, rows: int = 3, **odd: float) -> None:
        self.rows, self.odd = rows, odd
        self.batches: list[list[str]] = []

    def read(self, texts: Sequence[str]) -> list[Reading]:
        return [Reading(padded_length(len(text), 64), text) for text in texts]

    def n_rows(self, length: int) -> int:
        return self.rows

    def encode(self, readings: Sequence[Reading]) -> np.ndarray:
        texts = [reading.tokens for reading in readings]
        self.batches.append(texts)
        rows = [
            [self.odd[t]] * 26 if t in self.odd else [t.count(chr(97 + i)) for i in range(26)]
            for t in texts
        ]
        return np.array(rows, dtype=np.float32)


def vectors_of(texts: Sequence[str], encoder, dim: int = 384) -> np.ndarray:
    """All vectors in order; a row that never came stays 0."""
    found = np.zeros((len(texts), dim), dtype=np.float32)
    for block in blocks_of((Entry(f"r{i}", text) for i, text in enumerate(texts)), encoder):
        assert block.vectors.dtype == np.float32
        assert not found[block.rows].any()
        found[block.rows] = block.vectors
    return found


@pytest.fixture(scope="module")
def load():
    from tasks.encoders.sentence import SentenceEncoder  # noqa: PLC0415  takes seconds

    def make(precision=Precision.FLOAT32, max_tokens=256, batch_tokens=128):
        return SentenceEncoder(find_model(MODEL), precision, max_tokens, batch_tokens)

    return make


@pytest.fixture(scope="module")
def minilm(load):
    return load()


@pytest.fixture(scope="module")
def minilm_bfloat16(load):
    return load(Precision.BFLOAT16)


@pytest.fixture(scope="module")
def plain():
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415  takes seconds

    return SentenceTransformer(find_model(MODEL).name_or_folder, device="cpu").encode(TEXTS)


# --- any encoder ---


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text("abc", min_size=1, max_size=9), max_size=20), st.integers(1, 7))
def test_each_row_comes_once_with_its_own_vector(texts, rows):
    expected = np.array([[text.count(c) for c in LETTERS] for text in texts]).reshape(-1, 26)
    expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors_of(texts, Letters(rows), 26), expected, rtol=1e-6)


def test_texts_of_like_length_share_a_batch_which_is_never_overfull():
    encoder = Letters(rows=2)
    vectors_of(["abc", "a" * 9, "aaa", "b" * 10, "c", "b"], encoder, 26)
    assert sorted(map(sorted, encoder.batches)) == [["aaa", "abc"], ["a" * 9, "b" * 10], ["b", "c"]]


@given(st.integers(1, 300), st.sampled_from([8, 250, 256]))
def test_a_padded_length_holds_the_text_and_wastes_little(n_tokens, max_tokens):
    n_read = min(n_tokens, max_tokens)
    length = padded_length(n_read, max_tokens)
    assert n_read <= length <= max_tokens
    assert length - n_read < max(4, n_read / 8)


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_a_vector_without_direction_names_its_record(value):
    with pytest.raises(DataError, match="record r2"):
        vectors_of(["ab", "cd", "faulty", "ef"], Letters(faulty=value), 26)


def test_a_stream_is_not_read_far_ahead_of_what_is_done():
    taken = []
    stream = (taken.append(i) or i for i in range(100))
    done = as_done(lambda i: -i, stream, n_threads=2)
    first = next(done)
    assert first[1] == -first[0]
    assert len(taken) <= 4
    assert sorted([first, *done]) == [(i, -i) for i in range(100)]


def test_a_vector_file_has_the_bytes_that_numpy_would_write(tmp_path):
    rows = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    np.save(tmp_path / "expected.npy", rows)
    write_vectors(tmp_path / "found.npy", 7, 5, (rows[i : i + 3] for i in range(0, 7, 3)))
    assert (tmp_path / "found.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()


# --- the packaged model ---


def test_vectors_are_those_of_the_library(minilm, plain):
    vectors = vectors_of(TEXTS, minilm)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(vectors, plain, atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_vector_has_the_same_bytes_in_any_company(precision, minilm, minilm_bfloat16):
    encoder = {"float32": minilm, "bfloat16": minilm_bfloat16}[precision]
    expected = vectors_of(TEXTS, encoder)
    for seed in range(5):
        rng = random.Random(seed)
        shown = [*TEXTS, *(" ".join(rng.choices(WORDS, k=rng.randint(1, 80))) for _ in range(9))]
        order = rng.sample(range(len(shown)), rng.randint(4, len(shown)))
        vectors = vectors_of([shown[i] for i in order], encoder)
        for row, i in enumerate(order):
            if i < len(TEXTS):
                assert vectors[row].tobytes() == expected[i].tobytes(), shown[i]


def test_the_number_of_threads_changes_no_byte(minilm, monkeypatch):
    expected = vectors_of(TEXTS, minilm)
    for n_threads in (1, 3):
        monkeypatch.setattr(minilm, "n_threads", n_threads)
        assert vectors_of(TEXTS, minilm).tobytes() == expected.tobytes()


class InTurn:
    """An engine that works on the shards one after the other, in this process."""

    map = staticmethod(map)


def test_shards_have_the_bytes_of_the_whole(minilm, monkeypatch):
    monkeypatch.setattr("tasks.embed.SHARD_TEXTS", 4)
    entries = [Entry(f"r{i}", text) for i, text in enumerate([*TEXTS, "one " * 300])]
    recipe = Recipe(MODEL, Precision.FLOAT32, 256, 128)
    blocks = list(embed(entries, minilm, recipe, InTurn()))
    assert [sorted(block.rows) for block in blocks] == [[0, 1, 2, 3], [4, 5, 6]]
    assert [block.n_full for block in blocks] == [0, 1]
    expected = vectors_of([entry.text for entry in entries], minilm)
    for block in blocks:
        assert block.vectors.tobytes() == expected[block.rows].tobytes()


@pytest.mark.parametrize("trait", ["model", "torch", "processor", "rounding"])
def test_a_worker_that_embeds_otherwise_is_refused(trait, minilm):
    recipe = Recipe(MODEL, Precision.FLOAT32, 256, 128)
    with pytest.raises(DataError, match=f"otherwise than the driver: another {trait}\n") as caught:
        block_of([Entry("r0", "text")], recipe, traits_of(minilm) | {trait: "?"})
    assert "a worker on" in caught.value.where


def test_processors_that_round_otherwise_have_other_traits(minilm, monkeypatch):
    traits = traits_of(minilm)
    assert traits_of(minilm) == traits
    encode = minilm.encode
    monkeypatch.setattr(minilm, "encode", lambda batch: np.nextafter(encode(batch), np.float32(2)))
    other = traits_of(minilm)
    assert {name for name in traits if traits[name] != other[name]} == {"rounding"}


def test_a_worker_that_lacks_the_model_says_what_to_do(tmp_path, minilm):
    recipe = Recipe(str(tmp_path / "mine"), Precision.FLOAT32, 256, 128)
    with pytest.raises(DataError, match=r"cannot load the driver's model: .*no folder") as caught:
        block_of([Entry("r0", "text")], recipe, traits_of(minilm))
    assert f"Put {tmp_path / 'mine'} where each worker finds it" in caught.value.fix


def test_no_more_is_read_than_the_model_can_and_the_setting_says(load, minilm):
    assert load(max_tokens=512).max_tokens == 256
    short = load(max_tokens=8)
    assert short.max_tokens == 8
    alike = ["one two three four five six" + tail for tail in (" seven", " eight nine ten")]
    assert np.array_equal(*vectors_of(alike, short))
    assert not np.array_equal(*vectors_of(alike, minilm))
    full = [reading.is_full for reading in minilm.read(["one two", "one " * 254, "one " * 500])]
    assert full == [False, True, True]


def test_bfloat16_moves_no_vector_far(minilm, minilm_bfloat16):
    vectors = vectors_of(TEXTS, minilm_bfloat16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    cosines = (vectors * vectors_of(TEXTS, minilm)).sum(axis=1)
    assert (cosines > 0.999).all()
    assert (cosines < 1 - 1e-6).any()


def test_auto_is_decided_by_the_processor():
    assert Precision.AUTO.on("cpu") in (Precision.FLOAT32, Precision.BFLOAT16)


def test_a_model_whose_texts_cannot_be_padded_gets_one_at_a_time(tmp_path, plain):
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415  takes seconds

    from tasks.encoders.sentence import SentenceEncoder  # noqa: PLC0415

    prompted = SentenceTransformer(
        find_model(MODEL).name_or_folder, prompts={"ask": "query: "}, default_prompt_name="ask"
    )
    prompted.save(str(tmp_path))
    encoder = SentenceEncoder(Source(str(tmp_path), True), Precision.FLOAT32, 256, 128)
    vectors = vectors_of(TEXTS, encoder)
    np.testing.assert_allclose(vectors, prompted.encode(TEXTS), atol=1e-6)
    assert not np.allclose(vectors, plain, atol=1e-3)


# --- where a model comes from ---


@pytest.mark.parametrize(
    "name", ["all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2", "all-minilm-l6-v2"]
)
def test_the_packaged_model_is_found_by_its_names(name):
    folder, is_local = find_model(name)
    assert is_local
    assert (Path(folder) / "model.safetensors").is_file()


def test_a_worker_is_told_a_name_or_the_whole_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("models/mine", MODEL):
        Path(folder).mkdir(parents=True)
    assert absolute("models/mine") == str(tmp_path / "models/mine")
    assert absolute("models/yours") == "models/yours"
    assert absolute(MODEL) == MODEL  # the packaged one comes before a folder


def test_a_folder_is_a_model(load, minilm):
    folder = find_model("all-MiniLM-L6-v2").name_or_folder
    assert check({"engine": "local", "embed": {**SECTION, "model": folder}}).model == folder
    assert find_model(folder) == Source(folder, is_local=True)


def test_a_folder_that_holds_no_model_is_refused(load, tmp_path):
    from tasks.encoders.sentence import SentenceEncoder  # noqa: PLC0415

    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DataError, match="cannot be loaded"):
        SentenceEncoder(find_model(str(tmp_path)), Precision.FLOAT32, 256, 128)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "./nowhere"}, "no folder './nowhere'"),
        ({"model": "not a name"}, "no folder 'not a name'"),
        ({"model": ""}, r"embed\.model"),
        ({"precision": "float16"}, r"embed\.precision: .*bfloat16"),
        ({"batch_tokens": 0}, r"embed\.batch_tokens"),
        ({"max_tokens": "256"}, r"embed\.max_tokens"),
        ({"batch_token": 8}, r"did you mean batch_tokens\?"),
    ],
)
def test_a_wrong_setting_is_named_before_anything_runs(change, message):
    with pytest.raises(ParamError, match=message):
        check({"engine": "local", "embed": {**SECTION, **change}})


# --- the store ---


@pytest.fixture
def open_store(tmp_path):
    return lambda **identity: VectorStore(tmp_path, identity, dim=3)


def some_vectors(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=12, unique=True))
def test_what_is_stored_is_found_under_its_own_key_alone(tmp_path_factory, keys):
    store = VectorStore(tmp_path_factory.mktemp("store"), {}, dim=3)
    n, vectors = len(keys) // 2 + 1, some_vectors(len(keys))
    names = np.array(keys, "S16")
    with store:
        store.put(names[:n], vectors[:n])
        assert (store.find(names)[n:] == -1).all()
    with store:
        store.put(names[n:], vectors[n:])
        assert np.array_equal(store.read(store.find(names[::-1])), vectors[::-1])


def test_stores_of_two_models_are_apart(open_store):
    one, other = open_store(model="1"), open_store(model="2")
    keys = np.array([text_key("text")], "S16")
    with one, other:
        one.put(keys, some_vectors(1))
        assert other.find(keys).tolist() == [-1]


@pytest.mark.parametrize("n_lost", [1, 5, 31, 33])
def test_a_half_written_vector_is_dropped_and_made_anew(open_store, n_lost, caplog):
    keys, vectors = np.array([text_key(t) for t in "abcd"], "S16"), some_vectors(4)
    store = open_store()
    with store:
        store.put(keys, vectors)
    path = store.folder / "vectors"
    path.write_bytes(path.read_bytes()[:-n_lost])
    n_whole = 3 if n_lost <= 32 else 2
    with store:
        slots = store.find(keys)
        assert (slots >= 0).tolist() == [i < n_whole for i in range(4)]
        assert "half written" in caplog.text
        store.put(keys[n_whole:], vectors[n_whole:])
        assert np.array_equal(store.read(store.find(keys)), vectors)
    assert path.stat().st_size == 4 * 32


def test_a_changed_byte_costs_its_own_vector_only(open_store, caplog):
    keys, vectors = np.array([text_key(t) for t in "abcd"], "S16"), some_vectors(4)
    store = open_store()
    with store:
        store.put(keys, vectors)
    data = bytearray((store.folder / "vectors").read_bytes())
    data[32 + 20] ^= 1
    (store.folder / "vectors").write_bytes(data)
    with store:
        assert store.find(keys).tolist() == [0, -1, 2, 3]
        assert "1 of the 4 vectors" in caplog.text
        assert store.put(keys[1:2], vectors[1:2]).tolist() == [1]
        assert np.array_equal(store.read(store.find(keys)), vectors)


def test_a_store_is_written_by_one_run_at_a_time(open_store, caplog):
    caplog.set_level("INFO", "selectllm")
    keys, vectors = np.array([text_key(t) for t in "ab"], "S16"), some_vectors(2)

    def other() -> None:
        with open_store() as store:
            assert store.find(keys).tolist() == [0, -1]  # sees what the first one did
            store.put(keys[1:], vectors[1:])

    with open_store() as store:
        second = threading.Thread(target=other)
        second.start()
        second.join(0.2)
        assert second.is_alive()
        store.put(keys[:1], vectors[:1])
    second.join(10)
    assert "waiting for another run" in caplog.text
    with open_store() as store:
        assert np.array_equal(store.read(store.find(keys)), vectors)


def test_a_model_is_known_by_its_files_not_by_its_name(tmp_path):
    folders = [tmp_path / name / "model" for name in "abc"]
    for folder, weight in zip(folders, "110", strict=True):
        (folder / ".cache").mkdir(parents=True)
        (folder / "weights").write_text(weight)
        (folder / ".cache" / "fetched").write_text(str(folder))
    same, again, other = map(digest, folders)
    assert same == again != other


def test_a_model_of_the_hub_is_known_by_the_revision_that_is_here(tmp_path, monkeypatch):
    from huggingface_hub import constants  # noqa: PLC0415  takes seconds

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    cached = tmp_path / "models--some--model"
    for revision in ("abc", "def"):
        (cached / "snapshots" / revision).mkdir(parents=True)
        (cached / "snapshots" / revision / "config.json").write_text(revision)
    (cached / "refs").mkdir()
    (cached / "refs/main").write_text("def")
    source = find_model("some/model")
    assert source == Source("some/model", is_local=True)
    assert digest(model_folder(source)) == digest(cached / "snapshots/def")


# --- the step ---


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(PROJECT / name, tmp_path / name)
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


def set_model(workspace: Path, name: str) -> None:
    params = workspace / "params.yaml"
    params.write_text(params.read_text().replace("model: all-MiniLM-L6-v2", f"model: {name}"))


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


def test_a_model_that_the_hub_does_not_know_is_a_mistake_in_params(workspace, empty_hub):
    set_model(workspace, "all-MiniLM-L6-v3")
    done = run_step(workspace, empty_hub)
    assert done.returncode == 2
    assert "sentence-transformers/all-MiniLM-L6-v3 is no folder here and no public" in done.stderr
    assert "Traceback" not in done.stderr
