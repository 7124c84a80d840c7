"""Stored vectors are found again, and damage affects only the damaged vectors."""

import sqlite3
import threading
import zlib
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.embed.model_source import Source, digest, find_model, model_folder
from tasks.embed.vector_cache import VectorCache, text_key
from tasks.lib.core.errors import DataError
from tasks.lib.sqlite_store import SqliteStore


@pytest.fixture
def open_cache(tmp_path):
    return lambda **identity: VectorCache(tmp_path, identity, dim=3)


def some_vectors(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)


def keys_of(texts: str) -> np.ndarray:
    return np.array([text_key(text) for text in texts], "S16")


@settings(max_examples=30)
@given(st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=12, unique=True))
def test_a_vector_is_found_only_under_its_own_key(tmp_path_factory, keys):
    cache = VectorCache(tmp_path_factory.mktemp("store"), {}, dim=3)
    keys, vectors = np.unique(np.array(keys, "S16")), some_vectors(len(keys))
    n, vectors = len(keys) // 2 + 1, vectors[: len(keys)]
    with cache:
        cache.put(keys[:n], vectors[:n])
        assert cache.find(keys).tolist() == [i < n for i in range(len(keys))]
    with cache:
        cache.put(keys[n:], vectors[n:])
        assert np.array_equal(cache.read(keys[::-1]), vectors[::-1])


def test_two_models_have_separate_vectors(open_cache):
    with open_cache(model="1") as first, open_cache(model="2") as second:
        first.put(keys_of("a"), some_vectors(1))
        assert not second.find(keys_of("a")).any()


def test_a_damaged_vector_is_replaced_and_the_others_are_kept(open_cache, caplog):
    keys, vectors = keys_of("abcd"), some_vectors(4)
    cache = open_cache()
    with cache:
        cache.put(keys, vectors)
    with closing(sqlite3.connect(cache.folder / "vectors.sqlite")) as db, db:
        db.execute("UPDATE vectors SET vector = zeroblob(12) WHERE key = ?", (bytes(keys[1]),))
    with cache:
        assert cache.find(keys).tolist() == [True, False, True, True]
        assert "recomputing 1 damaged vectors" in caplog.text
        cache.put(keys[1:2], vectors[1:2])
        assert cache.find(keys).all()
        assert np.array_equal(cache.read(keys), vectors)


def test_the_file_of_an_earlier_version_is_imported_except_for_damaged_slots(open_cache):
    keys, vectors = keys_of("abcd"), some_vectors(4)
    slots = np.empty(4, [("key", "S16"), ("vector", "<f4", (3,)), ("crc", "<u4")])
    slots["key"], slots["vector"] = keys, vectors
    slots["crc"] = [zlib.crc32(slot.tobytes()[:-4]) for slot in slots]
    slots["crc"][2] += 1
    cache = open_cache()
    old_file = cache.folder / "vectors"
    old_file.write_bytes(slots.tobytes()[:-5])  # the last one was half written
    with cache:
        assert cache.find(keys).tolist() == [True, True, False, False]
        assert np.array_equal(cache.read(keys[:2]), vectors[:2])
    assert not old_file.exists()


def test_one_run_at_a_time_embeds_with_a_model(open_cache, caplog):
    caplog.set_level("INFO", "selectllm")
    keys, vectors = keys_of("ab"), some_vectors(2)

    def second_run() -> None:
        with open_cache() as cache:
            assert cache.find(keys).tolist() == [True, False]  # sees what the first run stored
            cache.put(keys[1:], vectors[1:])

    with open_cache() as cache:
        second = threading.Thread(target=second_run)
        second.start()
        second.join(0.2)
        assert second.is_alive()
        cache.put(keys[:1], vectors[:1])
    second.join(10)
    assert "waiting for another run" in caplog.text
    with open_cache() as cache:
        assert np.array_equal(cache.read(keys), vectors)


@pytest.mark.parametrize(
    ("content", "words"), [(b"not a database" * 99, "not a database"), (None, "version 7")]
)
def test_a_store_that_cannot_be_read_says_what_to_do(tmp_path, content, words):
    path = tmp_path / "responses.sqlite"
    if content is None:
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA user_version = 7")
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        SqliteStore(path, "responses", "key TEXT, text TEXT")
    assert caught.value.where == str(path)
    assert "delete it: its responses are then recomputed" in caught.value.fix


def test_a_model_is_identified_by_its_files_not_by_its_name(tmp_path):
    folders = [tmp_path / name / "model" for name in "abc"]
    for folder, weight in zip(folders, "110", strict=True):
        (folder / ".cache").mkdir(parents=True)
        (folder / "weights").write_text(weight)
        (folder / ".cache" / "fetched").write_text(str(folder))
    first, same, other = map(digest, folders)
    assert first == same != other


def test_a_model_from_the_hub_is_identified_by_its_local_revision(tmp_path, monkeypatch):
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
