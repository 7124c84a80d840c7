"""Which instructions count as the same, and which of them is kept."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.dedupe.find_duplicates import Near
from tasks.dedupe.near_index import MAX_CANDIDATES
from tasks.dedupe.step import check, work
from tasks.lib.core.drops import DedupeDrop
from tasks.lib.core.errors import ParamError
from tasks.lib.core.schemas import DEDUPE_DROPPED, DEDUPE_NEAR, POOL, UNIQUE
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table
from tasks.lib.text.shingles import field_texts
from tasks.lib.text.typography import comparable
from tests.dedupe_records import PARAMS, PASSAGE, deduped, overlap, similarity
from tests.workspaces import PROJECT, StepWorkspace


@pytest.mark.parametrize(
    "other",
    [
        "Name  three\nbirds' nests.",
        "\tName three birds' nests. ",
        "Ｎａｍｅ three birds' nests.",
        "Name three birds’ nests.",
        "Name three\u200b birds' nests.",
        "Name\u00a0three birds' nests.",
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
    words = ["neighbour", "carpenter", "fisherman", "gardener", "librarian", "mechanic"]
    words += ["postman", "sailor", "teacher"]
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
