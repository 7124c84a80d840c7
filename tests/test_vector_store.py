"""What was computed once is found again, and damage costs no more than it touched."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.embed.model_source import Source, digest, find_model, model_folder
from tasks.embed.vector_cache import VectorStore, text_key


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
