"""The questions of an evaluation, and the encoder that compares answers with references."""

import json
import os
from pathlib import Path

import pytest

from tasks.evaluate import params as section
from tasks.evaluate.questions.public_sets import REFERENCE_FILES, read_alpaca_eval, read_mt_bench
from tasks.evaluate.questions.step import draw, refuse_pool_records, with_outputs
from tasks.evaluate.questions.step import work as ask
from tasks.evaluate.score.cosine import load_cosine
from tasks.evaluate.tables import QUESTIONS
from tasks.lib.core.errors import DataError, ParamError
from tasks.lib.core.schemas import POOL, UNIQUE
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table
from tests.conftest import PROJECT
from tests.evaluation import VALUES, record, values
from tests.tiny_llama import as_pool
from tests.workspaces import StepWorkspace

# The test records


def test_the_questions_stage_reads_any_layout_of_a_pool(tmp_path, monkeypatch):
    (tmp_path / "dvc.yaml").write_bytes((PROJECT / "tasks/evaluate/graph.yaml").read_bytes())
    space = StepWorkspace(tmp_path)
    space.update(evaluate={"test": "test.csv", "n_test": 2})
    rows = ["question,answer", "Name a sea,North Sea", "Name a lake,", "Name a river,Rhine"]
    (tmp_path / "test.csv").write_text("\n".join(rows))
    space.file("none.jsonl").write_text("\n")
    pool = as_pool([("Name a city", "Rome"), ("name a SEA", "Red Sea")])
    space.write("ingest/pool.parquet", pool, POOL)
    space.write("dedupe/unique.parquet", [{"id": pool[0]["id"]}], UNIQUE)
    monkeypatch.chdir(tmp_path)
    Stage("questions", tmp_path).run(ask)
    asked = read_table(tmp_path / "data/questions/questions.parquet", QUESTIONS).to_pylist()
    assert [row["output"] for row in asked] == ["North Sea", "Rhine"]
    space.write("dedupe/unique.parquet", [{"id": row["id"]} for row in pool], UNIQUE)
    with pytest.raises(DataError, match=r"1 test records are also in the pool \(test.csv:2\)"):
        Stage("questions", tmp_path).run(ask)


def test_test_records_without_an_output_are_skipped_unless_none_has_one():
    assert with_outputs([record("a"), record("b", output=" ")], "t") == [record("a")]
    with pytest.raises(DataError, match="none of the 1 test records has an output"):
        with_outputs([record("b", output=None)], "t")


def test_test_records_that_are_in_the_pool_are_refused_whatever_their_case_and_spaces():
    refuse_pool_records([record("Name a river")], [record("Name a city")], "t")
    refuse_pool_records([record("Name it", input="a")], [record("Name it", input="b")], "t")
    with pytest.raises(DataError, match=r"1 test records are also in the pool \(test.jsonl:7\)"):
        refuse_pool_records(
            [record("name  a\nRIVER", source="test.jsonl:7")], [record("Name a river")], "t"
        )


def test_the_drawn_test_records_are_in_file_order_and_depend_on_the_seed():
    records = [record(str(i)) for i in range(50)]
    drawn = [[int(r["id"]) for r in draw(records, 20, seed, "t")] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] == sorted(set(drawn[0]))
    with pytest.raises(DataError, match=r"evaluate.n_test is 51, but the file has only 50"):
        draw(records, 51, 0, "t")


# Public question sets

BENCH = [
    {"question_id": 81, "category": "writing", "turns": ["Write it.", "Shorter."]},
    {"question_id": 111, "category": "math", "turns": ["What is 1 + 1?", "And 2 + 2?"]},
]
GPT4 = [{"question_id": 111, "choices": [{"index": 0, "turns": ["2", "4"]}]}]


def as_lines(rows):
    return "".join(f"{json.dumps(row)}\n" for row in rows)


@pytest.mark.parametrize("reference", REFERENCE_FILES)
def test_mt_bench_is_read_from_fastchats_layout_with_both_turns_and_the_judges_references(
    tmp_path, reference
):
    (tmp_path / reference).parent.mkdir(exist_ok=True)
    (tmp_path / reference).write_text(as_lines(GPT4))
    (tmp_path / "question.jsonl").write_text(as_lines(BENCH))
    writing, math = read_mt_bench(tmp_path)
    assert (writing["id"], writing["output"], writing["follow_up"]) == (
        *("mt_bench-81", None),
        "Shorter.",
    )
    assert (math["instruction"], math["output"], math["follow_up_reference"]) == (
        *("What is 1 + 1?", "2"),
        "4",
    )


def test_alpaca_eval_is_read_from_a_list_of_outputs_also_with_equal_instructions(tmp_path):
    rows = [{"dataset": "koala", "instruction": "Hi", "output": "Ho", "generator": "m"}] * 2
    (tmp_path / "outputs.json").write_text(json.dumps(rows))
    read = read_alpaca_eval(tmp_path / "outputs.json")
    assert [(row["id"], row["category"], row["output"]) for row in read] == [
        ("alpaca_eval-1", "koala", "Ho"),
        ("alpaca_eval-2", "koala", "Ho"),
    ]


@pytest.mark.parametrize(
    ("read", "files", "reason"),
    [
        (read_mt_bench, {}, "evaluate.mt_bench: the file cannot be read"),
        (read_mt_bench, {"question.jsonl": as_lines(BENCH)}, "no reference_answer/gpt-4.jsonl"),
        (read_mt_bench, {"question.jsonl": "{}\n"}, "expected an object with a question_id"),
        (read_mt_bench, {"question.jsonl": "no\n"}, "expected an object with a question_id"),
        (
            read_mt_bench,
            {"question.jsonl": '{"question_id": 1}\n', REFERENCE_FILES[0]: ""},
            "expected turns, a list of texts",
        ),
        (read_alpaca_eval, {}, "evaluate.alpaca_eval: the file cannot be read"),
        (read_alpaca_eval, {"a.json": "[1"}, "evaluate.alpaca_eval: the file cannot be read"),
        (read_alpaca_eval, {"a.json": "{}"}, "the file is not a JSON list"),
        (read_alpaca_eval, {"a.json": '[{"output": "x"}]'}, "the file is not a JSON list"),
    ],
)
def test_a_question_set_in_another_layout_is_refused(tmp_path, read, files, reason):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=reason) as caught:
        read(tmp_path / "a.json" if read is read_alpaca_eval else tmp_path)
    assert "data/none.jsonl" in caught.value.fix


def test_public_questions_that_are_in_the_pool_are_refused_too(tmp_path, monkeypatch):
    (tmp_path / "dvc.yaml").write_bytes((PROJECT / "tasks/evaluate/graph.yaml").read_bytes())
    space = StepWorkspace(tmp_path)
    outputs = [{"instruction": "name a CITY", "output": "Rome"}, {"instruction": "Name a sea"}]
    (tmp_path / "outputs.json").write_text(json.dumps(outputs))
    (tmp_path / "test.jsonl").write_text('{"instruction": "Name a lake", "output": "Como"}\n' * 2)
    space.file("none.jsonl").write_text("\n")
    space.update(evaluate={"test": "test.jsonl", "n_test": 2, "alpaca_eval": "outputs.json"})
    pool = as_pool([("Name a city", "Rome")])
    space.write("ingest/pool.parquet", pool, POOL)
    space.write("dedupe/unique.parquet", [{"id": row["id"]} for row in pool], UNIQUE)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"evaluate.n_test is 2, but the file has only 1"):
        Stage("questions", tmp_path).run(ask)
    two = [{"instruction": f"Name a {what}", "output": "x"} for what in ("lake", "hill")]
    (tmp_path / "test.jsonl").write_text(as_lines(two))
    with pytest.raises(DataError, match=r"1 test records are also in the pool \(outputs.json:1\)"):
        Stage("questions", tmp_path).run(ask)
    (tmp_path / "outputs.json").write_text(json.dumps(outputs[1:]))
    Stage("questions", tmp_path).run(ask)
    asked = read_table(tmp_path / "data/questions/questions.parquet", QUESTIONS).to_pylist()
    assert [row["set"] for row in asked] == ["test", "test", "alpaca_eval"]


PUBLIC = Path(os.environ.get("SELECTLLM_PUBLIC_SETS", "no-folder"))


@pytest.mark.skipif(
    not PUBLIC.is_dir(), reason="SELECTLLM_PUBLIC_SETS does not name a folder with both sets"
)
def test_the_published_question_sets_are_read_whole():
    bench = read_mt_bench(PUBLIC / "mt_bench")
    assert (len(bench), len([row for row in bench if row["output"]])) == (80, 30)
    assert all(row["follow_up"] for row in bench)
    assert len(read_alpaca_eval(PUBLIC / "alpaca_eval.json")) == 805


# The encoder of the cosine


@pytest.mark.parametrize("encoder", ["all-MiniLM-L6-v2", "sentence-transformers/ALL-minilm-l6-v2"])
def test_the_encoder_that_chose_the_records_is_refused(encoder, monkeypatch):
    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr(section, "EXTRA", ())
    with pytest.raises(ParamError, match=r"which is embed\.model: it chose the records"):
        section.require_ready(values(model="m", test="README.md", encoder=encoder))
    section.require_ready(values(model="m", test="README.md", encoder="BAAI/bge-small-en-v1.5"))


@pytest.mark.slow
def test_the_cosine_compares_answers_with_references():
    cosine = load_cosine(VALUES, "all-MiniLM-L6-v2")
    near, far = cosine(["a red car", "a red car"], ["a car that is red", "the price of wheat"])
    assert near > 0.8
    assert far < 0.4


def test_an_encoder_that_does_not_exist_is_named_by_its_own_key():
    with pytest.raises(ParamError, match=r"evaluate\.encoder: '!' is neither a folder"):
        load_cosine(VALUES, "!")
