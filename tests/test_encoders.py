"""A vector depends only on its text, and the error for a broken model names the model."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.embed.batches import padded_length
from tasks.embed.encoder_settings import EncoderSpec, Precision
from tasks.embed.map_threads import map_unordered
from tasks.embed.model_source import Source, absolute, find_model
from tasks.embed.pool_texts import PoolText
from tasks.embed.ray_worker import embed_shard, fingerprint
from tasks.embed.step import check, embed
from tasks.lib.core.errors import DataError, ParamError
from tasks.lib.unique import write_vectors
from tests.encoding import MODEL, TEXTS, Letters, vectors_of

SECTION = {
    "model": MODEL,
    "precision": "float32",
    "batch_tokens": 128,
    "max_tokens": 256,
}
WORDS = ["bread", "ferry", "why", "translate", "2", "鸟", "antidisestablishmentarianism"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"


# --- any encoder ---


@given(st.lists(st.text("abc", min_size=1, max_size=9), max_size=20), st.integers(1, 7))
def test_each_row_comes_once_with_its_own_vector(texts, rows):
    expected = np.array([[text.count(c) for c in LETTERS] for text in texts]).reshape(-1, 26)
    expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors_of(texts, Letters(rows), 26), expected, rtol=1e-6)


def test_texts_of_similar_length_share_a_batch_which_is_never_overfull():
    encoder = Letters(rows=2)
    vectors_of(["abc", "a" * 9, "aaa", "b" * 10, "c", "b"], encoder, 26)
    assert sorted(map(sorted, encoder.batches)) == [["aaa", "abc"], ["a" * 9, "b" * 10], ["b", "c"]]


@given(st.integers(1, 300), st.sampled_from([8, 250, 256]))
def test_a_padded_length_fits_the_text_and_wastes_little(n_tokens, max_tokens):
    n_read = min(n_tokens, max_tokens)
    length = padded_length(n_read, max_tokens)
    assert n_read <= length <= max_tokens
    assert length - n_read < max(4, n_read / 8)


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_the_error_for_a_vector_that_is_zero_or_not_finite_names_its_record(value):
    with pytest.raises(DataError, match="record r2"):
        vectors_of(["ab", "cd", "faulty", "ef"], Letters(faulty=value), 26)


def test_a_stream_is_not_read_far_ahead_of_the_work():
    taken = []
    stream = (taken.append(i) or i for i in range(100))
    done = map_unordered(lambda i: -i, stream, n_threads=2)
    first = next(done)
    assert first[1] == -first[0]
    assert len(taken) <= 4
    assert sorted([first, *done]) == [(i, -i) for i in range(100)]


def test_a_vector_file_has_the_bytes_that_numpy_would_write(tmp_path):
    rows = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    np.save(tmp_path / "expected.npy", rows)
    write_vectors(tmp_path / "written.npy", 7, 5, (rows[i : i + 3] for i in range(0, 7, 3)))
    assert (tmp_path / "written.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()


# --- the packaged model ---


def test_vectors_equal_those_of_the_library(minilm, plain):
    vectors = vectors_of(TEXTS, minilm)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(vectors, plain, atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_vector_has_the_same_bytes_whatever_the_other_texts(precision, minilm, minilm_bfloat16):
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
    """An engine that works on the shards one after another, in this process."""

    map = staticmethod(map)


def test_shards_have_the_bytes_of_the_whole_pool(minilm, monkeypatch):
    monkeypatch.setattr("tasks.embed.step.SHARD_TEXTS", 4)
    records = [PoolText(f"r{i}", text) for i, text in enumerate([*TEXTS, "one " * 300])]
    spec = EncoderSpec(MODEL, Precision.FLOAT32, 256, 128)
    batches = list(embed(records, minilm, spec, InTurn()))
    assert [sorted(batch.rows) for batch in batches] == [[0, 1, 2, 3], [4, 5, 6]]
    assert [batch.n_full for batch in batches] == [0, 1]
    expected = vectors_of([record.text for record in records], minilm)
    for batch in batches:
        assert batch.vectors.tobytes() == expected[batch.rows].tobytes()


@pytest.mark.parametrize("part", ["model", "torch", "processor", "rounding"])
def test_a_worker_that_embeds_differently_is_refused(part, minilm):
    spec = EncoderSpec(MODEL, Precision.FLOAT32, 256, 128)
    with pytest.raises(
        DataError, match=f"would differ from the driver's because of differences in: {part}\n"
    ) as caught:
        embed_shard([PoolText("r0", "text")], spec, fingerprint(minilm) | {part: "?"})
    assert "a worker on" in caught.value.where


def test_processors_that_round_differently_have_different_fingerprints(minilm, monkeypatch):
    expected = fingerprint(minilm)
    assert fingerprint(minilm) == expected
    encode = minilm.encode
    monkeypatch.setattr(minilm, "encode", lambda batch: np.nextafter(encode(batch), np.float32(2)))
    other = fingerprint(minilm)
    assert {name for name in expected if expected[name] != other[name]} == {"rounding"}


def test_a_worker_that_lacks_the_model_says_what_to_do(tmp_path, minilm):
    spec = EncoderSpec(str(tmp_path / "mine"), Precision.FLOAT32, 256, 128)
    with pytest.raises(
        DataError, match=r"cannot load the driver's model: .*is neither a folder"
    ) as caught:
        embed_shard([PoolText("r0", "text")], spec, fingerprint(minilm))
    assert f"Put {tmp_path / 'mine'} where every worker can find it" in caught.value.fix


def test_a_text_is_cut_off_at_the_model_s_limit_and_at_max_tokens(load, minilm):
    assert load(max_tokens=512).max_tokens == 256
    short = load(max_tokens=8)
    assert short.max_tokens == 8
    alike = ["one two three four five six" + tail for tail in (" seven", " eight nine ten")]
    assert np.array_equal(*vectors_of(alike, short))
    assert not np.array_equal(*vectors_of(alike, minilm))
    full = [reading.is_full for reading in minilm.tokenize(["one two", "one " * 254, "one " * 500])]
    assert full == [False, True, True]


def test_bfloat16_changes_vectors_only_slightly(minilm, minilm_bfloat16):
    vectors = vectors_of(TEXTS, minilm_bfloat16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    cosines = (vectors * vectors_of(TEXTS, minilm)).sum(axis=1)
    assert (cosines > 0.999).all()
    assert (cosines < 1 - 1e-6).any()


@pytest.mark.slow
def test_auto_is_decided_by_the_processor():
    assert Precision.AUTO.on("cpu") in (Precision.FLOAT32, Precision.BFLOAT16)


def test_a_model_that_does_not_allow_padding_gets_one_text_at_a_time(tmp_path, plain):
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415  takes seconds

    from tasks.embed.sentence_encoder import SentenceEncoder  # noqa: PLC0415

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


def test_a_worker_gets_a_name_or_the_whole_path(tmp_path, monkeypatch):
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


def test_a_folder_without_a_model_is_refused(load, tmp_path):
    from tasks.embed.sentence_encoder import SentenceEncoder  # noqa: PLC0415

    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DataError, match="cannot be loaded"):
        SentenceEncoder(find_model(str(tmp_path)), Precision.FLOAT32, 256, 128)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "./nowhere"}, "'./nowhere' is neither a folder"),
        ({"model": "not a name"}, "'not a name' is neither a folder"),
        ({"model": ""}, r"embed\.model"),
        ({"precision": "float16"}, r"embed\.precision: .*bfloat16"),
        ({"batch_tokens": 0}, r"embed\.batch_tokens"),
        ({"max_tokens": "256"}, r"embed\.max_tokens"),
        ({"batch_token": 8}, r"did you mean batch_tokens\?"),
    ],
)
def test_a_wrong_setting_is_reported_before_anything_runs(change, message):
    with pytest.raises(ParamError, match=message):
        check({"engine": "local", "embed": {**SECTION, **change}})
