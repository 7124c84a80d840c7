"""Which instructions count as the same, and which of them is kept."""

import os
import random
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.dedupe.find_duplicates import COLUMNS, Near, fingerprint
from tasks.dedupe.lsh import find_components, prune_false_candidates
from tasks.dedupe.minhash import bands_for, minhash
from tasks.dedupe.near_index import MAX_CANDIDATES
from tasks.dedupe.step import Dedupe, Deduped, PoolBatches, check, dedupe, work
from tasks.lib.core.drops import DedupeDrop
from tasks.lib.core.errors import ParamError
from tasks.lib.core.schemas import DEDUPE_DROPPED, DEDUPE_NEAR, POOL, UNIQUE
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table
from tasks.lib.executor import Executor
from tasks.lib.text.shingles import DENSE, field_texts, jaccard, shingles
from tasks.lib.text.typography import comparable, normalise
from tests.workspaces import StepWorkspace

PROJECT = Path(__file__).parent.parent
PARAMS = Dedupe(near_threshold=0.8, n_permutations=128, near=Near.MERGE)
PASSAGE = (
    "The harbour was dredged in spring, and ferries came back before the first warm week. "
    "Fishermen sold mackerel from their boats, children learnt to dive from the old crane, "
    "and nobody missed the trucks that used to rattle through the town at night."
)


Record = tuple[str, str, str]
"""Id, instruction and input."""


def records_of(*texts: str | tuple[str, str]) -> list[Record]:
    pairs = [(text, "") if isinstance(text, str) else text for text in texts]
    return [(f"r{i}", *pair) for i, pair in enumerate(pairs)]


def deduped(
    *texts: str | tuple[str, str], threshold: float = 0.8, near: Near = Near.MERGE
) -> Deduped:
    return dedupe_records(records_of(*texts), threshold, near)


def dedupe_records(
    records: list[Record], threshold: float, near: Near = Near.MERGE, batch_size: int = 3
) -> Deduped:
    batches = table(records).to_batches(batch_size)
    params = PARAMS.model_copy(update={"near_threshold": threshold, "near": near})
    return dedupe(PoolBatches(len(records), lambda: iter(batches)), params, Executor.LOCAL)


def table(records: list[Record]) -> pa.Table:
    schema = pa.schema([(name, pa.string()) for name in COLUMNS])
    rows = [dict(zip(COLUMNS, record, strict=False)) for record in records]  # without context
    return pa.Table.from_pylist(rows, schema=schema)


def pieces_of(text: str) -> set[str]:
    """Return the shingles of a normalised text, computed directly from the definition."""
    text = text.casefold()

    def is_dense(character: str) -> bool:
        return any(first <= ord(character) <= last for first, last in DENSE)

    pieces = set()
    for dense, run in groupby(text, is_dense):
        characters, width = "".join(run), 2 if dense else 5
        pieces |= {characters[i : i + width] for i in range(max(1, len(characters) - width + 1))}
    return pieces


def overlap(a: str, b: str) -> float:
    """Return the Jaccard similarity, computed with Python sets."""
    x, y = pieces_of(normalise(a)), pieces_of(normalise(b))
    return len(x & y) / len(x | y)


def similarity(a: str, b: str) -> float:
    return jaccard(*(np.unique(shingles([normalise(text)]).hashes) for text in (a, b)))


# --- identical ---


@pytest.mark.parametrize(
    "other",
    [
        *(
            "Name  three\nbirds' nests.",
            "\tName three birds' nests. ",
            "Ｎａｍｅ three birds' nests.",
        ),
        *(
            "Name three birds’ nests.",
            "Name three\u200b birds' nests.",
            "Name\u00a0three birds' nests.",
        ),
    ],
)
def test_records_that_differ_only_in_typography_are_identical(other):
    kept, dropped, _ = deduped("Name three birds' nests.", other)
    assert kept == ["r0"]
    assert [(d.id, d.reason, d.of_id, d.similarity) for d in dropped] == [
        ("r1", DedupeDrop.IDENTICAL, "r0", 1.0)
    ]


def test_the_same_text_is_identical_however_it_is_split_into_instruction_and_input():
    _, dropped, _ = deduped(("Sum up: it rained.", ""), ("Sum up:", "it rained."))
    assert [d.reason for d in dropped] == [DedupeDrop.IDENTICAL]


@pytest.mark.parametrize("placeholder", ["<noinput>", "No input", "N/A", "<no input>"])
def test_a_placeholder_for_no_input_counts_as_an_empty_input(placeholder):
    _, dropped, _ = deduped(("Name three birds.", ""), ("Name three birds.", placeholder))
    assert [d.reason for d in dropped] == [DedupeDrop.IDENTICAL]


# --- near ---


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            "What is the difference between a moth and a butterfly?",
            "What is the difference between a moth and butterfly",
        ),
        (
            "How can I learn to ride a snowboard without leaving my home town?",
            "How can I learn to ride a snowboad without leaving my home town?",
        ),
        (
            "请解释一下为什么天空在晴朗的日子里是蓝色的？",
            "解释一下为什么天空在晴朗的日子里是蓝色的",
        ),
        (
            "なぜ空は晴れた日に青く見えるのか説明してください。",
            "なぜ空は晴れた日に青く見えるのか説明してください",
        ),
        (
            "하늘이 맑은 날에 왜 파랗게 보이는지 설명해 주세요.",
            "하늘이 맑은 날에 왜 파랗게 보이는지 설명해 주세요",
        ),
        ("อธิบายว่าทำไมท้องฟ้าจึงเป็นสีฟ้าในวันที่อากาศแจ่มใส", "อธิบายว่าทำไมท้องฟ้าจึงเป็นสีฟ้าในวันที่อากาศแจ่มใสครับ"),
        (
            "समझाइए कि साफ़ दिन में आसमान नीला क्यों दिखता है।",
            "समझाइए कि साफ़ दिन में आसमान नीला क्यों दिखता है",
        ),
    ],
)
def test_records_with_a_typo_a_missing_article_or_a_polite_word_are_near(first, second):
    kept, dropped, _ = deduped(first, second)
    assert kept == ["r0"]
    assert [(d.reason, d.of_id) for d in dropped] == [(DedupeDrop.NEAR, "r0")]
    texts = field_texts(comparable(text, "") for text in (first, second))
    assert dropped[0].similarity == overlap(texts[0], texts[2])


@pytest.mark.parametrize(
    "other",
    ["name three birds.", "NAME THREE BIRDS.", "Name Three Birds.", "Please, name three birds."],
)
def test_records_that_differ_only_in_capitals_or_polite_words_are_near_not_identical(other):
    _, dropped, _ = deduped("Name three birds.", other)
    assert [(d.reason, d.similarity) for d in dropped] == [(DedupeDrop.NEAR, 1.0)]


def test_near_duplicates_are_kept_and_listed_if_the_user_wants_to_judge_them():
    texts = "Name three birds.", "name three birds.", "Name three  birds.", "NAME THREE BIRDS"
    kept, dropped, near = deduped(*texts, near=Near.REPORT)
    assert kept == ["r0", "r1", "r3"]
    assert [(d.id, d.reason, d.of_id) for d in dropped] == [("r2", DedupeDrop.IDENTICAL, "r0")]
    assert [(d.id, d.of_id) for d in near] == [("r1", "r0"), ("r3", "r0")]
    assert deduped(*texts).kept_near == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("What is the capital of France?", "What is the capital of Spain?"),
        ("What is 2+2?", "What is 2+3?"),
        ("法国的首都是什么？", "日本的首都是什么？"),
        ("フランスの首都はどこですか？", "スペインの首都はどこですか？"),
        ("เมืองหลวงของฝรั่งเศสคืออะไร", "เมืองหลวงของสเปนคืออะไร"),
    ],
)
def test_short_texts_that_differ_in_a_word_or_a_number_are_both_kept(first, second):
    assert deduped(first, second).dropped == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            "List all ten episodes of the first season in broadcast order, with a word on each.",
            "List all ten episodes of the third season in broadcast order, with a word on each.",
        ),
        (
            "Who won the prize for the best novel of the year 2020, and for which book was it?",
            "Who won the prize for the best novel of the year 2022, and for which book was it?",
        ),
        (
            "Put these in ascending order and say which is the largest of them: 4, 19, 7",
            "Put these in ascending order and say which is the largest of them: 19, 4, 7",
        ),
        (
            "请用简单的语言给一个十岁的孩子详细地解释一下为什么夏天的白天比冬天的白天要长得多。",
            "请用简单的语言给一个十岁的孩子详细地解释一下为什么夏天的夜晚比冬天的夜晚要短得多。",
        ),
    ],
)
def test_long_texts_with_an_exchanged_word_or_number_are_both_kept(first, second):
    assert similarity(first, second) >= 0.6
    assert deduped(first, second, threshold=0.6).dropped == []


def test_two_questions_about_one_passage_are_both_kept():
    first, second = ("Who came back?", PASSAGE), ("What was done to the harbour?", PASSAGE)
    assert similarity(" ".join(first), " ".join(second)) > 0.8
    assert deduped(first, second).dropped == []
    assert deduped(first, ("Who came back", PASSAGE.removesuffix("."))).kept == ["r0"]
    assert deduped(first, ("Who came back", PASSAGE + " It rained.")).dropped == []


def test_one_question_about_two_passages_is_kept_twice():
    assert (
        deduped(("Who came back?", PASSAGE), ("Who came back?", "Ann and her son.")).dropped == []
    )
    assert deduped(("Who came back?", PASSAGE), "Who came back?").dropped == []


def test_a_record_that_is_near_only_a_dropped_record_is_kept():
    words = [
        "neighbour",
        "carpenter",
        "fisherman",
        "gardener",
        "librarian",
        "mechanic",
        "postman",
        "sailor",
        "teacher",
    ]
    slips = ["neighbbour", "carppenter", "fishherman", "garddener"]
    chain = [" ".join(["Describe a day of", *slips[:n], *words[n:]]) for n in (0, 2, 4)]
    assert overlap(*chain[:2]) >= 0.75 <= overlap(*chain[1:]) and overlap(chain[0], chain[2]) < 0.75
    kept, dropped, _ = deduped(*chain, threshold=0.75)
    assert kept == ["r0", "r2"]
    assert [(d.id, d.of_id) for d in dropped] == [("r1", "r0")]
    _, dropped, _ = deduped(chain[0], chain[2], chain[1], threshold=0.75)
    most = max((overlap(chain[1], chain[0]), "r0"), (overlap(chain[1], chain[2]), "r1"))
    assert [(d.similarity, d.of_id) for d in dropped] == [most]


def test_if_records_are_equally_similar_the_first_is_named():
    base = "Describe the way that a letter takes from the sender to the reader"
    kept, dropped, _ = deduped(base + "!", base + "?", base)
    assert overlap(base + "!", base) == overlap(base + "?", base)
    assert kept == ["r0", "r1"]
    assert [d.of_id for d in dropped] == ["r0"]


def test_at_threshold_1_all_shingles_must_be_the_same():
    first, second = "Laugh out loud: ha ha ha", "laugh out loud: ha ha ha"
    assert [d.similarity for d in deduped(first, second, threshold=1.0).dropped] == [1.0]
    assert deduped(first, first + "!", threshold=1.0).dropped == []


def test_in_a_pool_from_one_template_near_duplicates_of_the_first_64_are_dropped():
    rng = random.Random(0)
    words = [
        "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=8)) for _ in range(3 * MAX_CANDIDATES)
    ]
    made = [f"{PASSAGE} Now say what {word} means." for word in words]
    kept, dropped, _ = deduped(*made, made[-1] + " ", made[0] + ".", made[-1] + ".")
    assert kept == [f"r{i}" for i in (*range(len(made)), len(made) + 2)]
    assert [(d.reason, d.of_id) for d in dropped] == [
        ("identical", f"r{len(made) - 1}"),
        ("near", "r0"),
    ]


# --- any pool ---

VOCABULARY = "a cat dog the runs run home 2 3 été 猫 走る แมว हिन्दी why? Why, and."
WORDS = st.sampled_from(VOCABULARY.split())
TEXTS = st.lists(WORDS, min_size=1, max_size=12).map(" ".join)
POOLS = st.lists(st.tuples(TEXTS, TEXTS | st.just("")), max_size=12)
THRESHOLDS = st.sampled_from([0.3, 0.5, 0.8, 1.0])


@given(POOLS, THRESHOLDS)
def test_every_record_is_kept_or_dropped_for_an_earlier_kept_one(pool, threshold):
    records = records_of(*pool)
    kept, dropped, _ = deduped(*pool, threshold=threshold)
    order = [record[0] for record in records]
    assert sorted(kept + [drop.id for drop in dropped], key=order.index) == order
    assert kept == sorted(kept, key=order.index)
    by_id = {record[0]: record for record in records}
    for drop in dropped:
        assert drop.of_id in kept
        assert order.index(drop.of_id) < order.index(drop.id)
        assert drop.similarity >= threshold
        same = normalise(" ".join(by_id[drop.id][1:])) == normalise(" ".join(by_id[drop.of_id][1:]))
        assert (drop.reason is DedupeDrop.IDENTICAL) == same


@pytest.mark.slow
@given(POOLS, THRESHOLDS)
def test_a_second_pass_drops_nothing(pool, threshold):
    first = deduped(*pool, threshold=threshold)
    kept = [record for record in records_of(*pool) if record[0] in set(first.kept)]
    assert dedupe_records(kept, threshold) == (first.kept, [], [])


@given(*[st.text("ab .漢字かな한กข𠀀😀", max_size=30)] * 2)
def test_similarity_is_the_jaccard_similarity_of_the_defined_pieces(a, b):
    a, b = normalise(a), normalise(b)
    expected = overlap(a, b) if a and b else float(a == b)
    assert similarity(a, b) == expected


@pytest.mark.slow
def test_hardly_any_pair_above_the_threshold_is_missed():
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(2000)]
    pairs = []
    for _ in range(400):
        sample = rng.sample(words, 17)
        slips = [word[:3] + word[2:] if i % 5 == 2 else word for i, word in enumerate(sample)]
        both = [f"what is the {' '.join(text)}" for text in (sample, slips)]
        pairs.append(tuple(both))  # three letters doubled
    assert all(0.8 <= overlap(*pair) <= 0.88 for pair in pairs)
    named = [[d.of_id for d in deduped(*pair).dropped] for pair in pairs]
    assert named.count(["r0"]) >= 398


def test_signatures_agree_as_often_as_the_sets_overlap():
    a, b = PASSAGE, PASSAGE[:200]
    signatures = minhash([(normalise(a), "x"), (normalise(b), "x")], 512)
    together = pieces_of(normalise(a)) | {"x"}, pieces_of(normalise(b)) | {"x"}
    expected = len(together[0] & together[1]) / len(together[0] | together[1])
    assert (
        abs(np.mean(signatures[0] == signatures[1]) - expected)
        < 3 * (expected * (1 - expected) / 512) ** 0.5
    )


def test_a_chain_of_candidate_pairs_is_one_component_named_by_its_first_record():
    keys = np.array([[1, 7], [2, 5], [9, 5], [2, 8], [3, 4], [3, 6]], dtype=np.uint64)
    assert find_components(keys).tolist() == [0, 1, 1, 1, 4, 4]


def test_records_that_share_no_band_are_not_compared():
    texts = ["one thing entirely", "quite another matter", "one thing entirely."]
    (batch,) = table(records_of(*texts)).to_batches()
    assert find_components(fingerprint(batch, 0.8, 128).keys).tolist() == [0, 1, 0]


def test_only_records_that_share_a_key_with_a_similar_one_keep_it():
    rng = np.random.default_rng(0)
    b_bits = rng.integers(0, 256, (5, 128), dtype=np.uint8)
    b_bits[2, :90], b_bits[3] = b_bits[0, :90], b_bits[1]  # 70 % alike, and equal
    keys = np.array([[9, 8], [9, 8], [9, 7], [6, 8], [9, 7]], dtype=np.uint64)
    prune_false_candidates(keys, b_bits, 0.8)
    assert keys.tolist() == [[9, 0], [1, 8], [9, 2], [3, 8], [4, 4]]
    group = np.full((257, 1), 10**9, dtype=np.uint64)
    prune_false_candidates(group, rng.integers(0, 256, (257, 128), dtype=np.uint8), 0.8)
    assert set(group.ravel().tolist()) == {10**9}
    prune_false_candidates(group[1:], rng.integers(0, 256, (256, 128), dtype=np.uint8), 0.8)
    assert len(set(group.ravel().tolist())) == 257


@pytest.mark.parametrize("threshold", [0.05, 0.5, 0.8, 0.99, 1.0])
@pytest.mark.parametrize("n_permutations", [16, 128, 511])
def test_bands_fit_the_signature_for_every_setting(threshold, n_permutations):
    bands = bands_for(threshold, n_permutations)
    assert bands.n >= 2
    assert n_permutations - bands.width < bands.n * bands.width <= n_permutations


# --- the step ---


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    first, second = "Name three birds.", "Why is the sky blue?"
    texts = [first, first + " ", second, second.removesuffix("?")]
    row = {"output": None, "source": "x.jsonl:1", "extra": "{}", "input": ""}
    rows = [{**row, "id": f"r{i}", "instruction": text} for i, text in enumerate(texts)]
    space = StepWorkspace(tmp_path)
    space.write_no_references(0)
    space.write("ingest/pool.parquet", rows, POOL)
    return tmp_path


def test_the_step_writes_what_is_kept_and_why_the_rest_is_dropped(workspace):
    Stage("dedupe", workspace).run(work)
    folder = workspace / "data/dedupe"
    assert read_table(folder / "unique.parquet", UNIQUE)["id"].to_pylist() == ["r0", "r2"]
    dropped = read_table(folder / "dropped.parquet", DEDUPE_DROPPED).to_pylist()
    assert [(d["id"], d["reason"], d["of_id"]) for d in dropped] == [
        ("r1", "identical", "r0"),
        ("r3", "near", "r2"),
    ]
    assert dropped[1]["similarity"] == overlap("Why is the sky blue?", "Why is the sky blue")
    assert read_table(folder / "near.parquet", DEDUPE_NEAR).to_pylist() == []


def test_the_step_lists_the_near_duplicates_that_it_keeps(workspace):
    StepWorkspace(workspace).update(dedupe={"near": "report"})
    Stage("dedupe", workspace).run(work)
    folder = workspace / "data/dedupe"
    assert read_table(folder / "unique.parquet", UNIQUE)["id"].to_pylist() == ["r0", "r2", "r3"]
    dropped = read_table(folder / "dropped.parquet", DEDUPE_DROPPED).to_pylist()
    assert [d["id"] for d in dropped] == ["r1"]
    near = read_table(folder / "near.parquet", DEDUPE_NEAR).to_pylist()
    assert [(d["id"], d["of_id"]) for d in near] == [("r3", "r2")]


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_the_process(workspace):
    contents = []
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-m", "tasks.dedupe"],
            cwd=workspace,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(PROJECT)},
            check=True,
        )
        contents.append([p.read_bytes() for p in sorted((workspace / "data/dedupe").iterdir())])
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"near_threshold": 0.0}, "dedupe.near_threshold: "),
        ({"near_threshold": 1.1}, "dedupe.near_threshold: "),
        ({"n_permutations": 8}, "dedupe.n_permutations: "),
        ({"near": "maybe"}, "dedupe.near: "),
        ({"near_treshold": 0.8}, "did you mean near_threshold?"),
    ],
)
def test_a_wrong_setting_is_reported_before_anything_runs(change, message):
    with pytest.raises(ParamError, match=message.replace("?", r"\?")):
        check({"engine": "local", "dedupe": {**PARAMS.model_dump(), **change}})
