"""Files whose rows are not where they are expected, and the fixes that the messages name."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tasks.lib.core.errors import DataError
from tests.ingest_rows import pool_of
from tests.layout_parts import Expected, said, short

# Files whose rows are not where they are expected, and the instructions that the message leads to.
HIDDEN = {
    "SQuAD.json": (
        {
            "version": "1.1",
            "data": [
                {"title": "T", "paragraphs": [{"context": "I", "qas": [{"question": "Q"}]}]},
                {"title": "U", "paragraphs": [{"context": "J", "qas": [{"question": "R"}]}]},
            ],
        },
        [Expected("Q", input="I"), Expected("R", input="J")],
    ),
    "DROP.json": (
        {
            "p1": {"passage": "I", "qa_pairs": [{"question": "Q", "answer": "A"}]},
            "p2": {"passage": "J", "qa_pairs": [{"question": "R", "answer": "B"}]},
        },
        [Expected("Q", "A", "I"), Expected("R", "B", "J")],
    ),
    "by column.json": (
        {"instruction": {"0": "Q", "1": "R"}, "output": {"0": "A", "1": "B"}},
        [Expected("Q", "A"), Expected("R", "B")],
    ),
    "lists.json": (
        {"instruction": ["Q", "R"], "output": ["A", "B"]},
        [Expected("Q", "A"), Expected("R", "B")],
    ),
    "by index.json": (
        {"0": {"instruction": "Q"}, "1": {"instruction": "R"}},
        [Expected("Q"), Expected("R")],
    ),
    "split.json": (
        {"columns": ["instruction", "output"], "index": [0], "data": [["Q", "A"]]},
        [Expected("Q", "A")],
    ),
    "the API of the viewer.json": (
        {"features": [{"name": "prompt"}], "rows": [{"row_idx": 0, "row": {"prompt": "Q"}}]},
        [Expected("Q")],
    ),
    "DialogStudio.json": (
        {
            f"X--train--{n}": {
                "dialog index": n,
                "original dialog info": {},
                "log": [{"turn id": 1, "user utterance": text, "system response": "A"}],
                "prompt": ["This is a bot that helps users."],
            }
            for n, text in enumerate(["Q", "R"])
        },
        [Expected("Q", "A"), Expected("R", "A")],
    ),
    "texts.json": (["Q", "R"], [Expected("Q"), Expected("R")]),
    "JSON in JSON.json": ([json.dumps({"instruction": "Q"})], [Expected("Q")]),
}


@pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq")
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", HIDDEN)
def test_the_command_of_a_refusal_writes_the_rows(tmp_path: Path, name: str, indent: int | None):
    whole, expected = HIDDEN[name]
    path = tmp_path / "OLD.json"
    path.write_text(json.dumps(whole, indent=indent))
    with pytest.raises(DataError) as caught:
        pool_of(tmp_path, path)
    command = caught.value.fix.split("`")[1].replace("OLD", "OLD.json")
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert [short(record) for record in pool_of(tmp_path, tmp_path / "NEW.jsonl")] == expected


def test_rows_as_python_prints_them_are_refused_with_a_command_that_works(tmp_path: Path):
    path = tmp_path / "OLD.jsonl"
    path.write_text("{'instruction': 'Q', 'output': None}\n{'instruction': \"It's\"}\n")
    with pytest.raises(DataError, match="Python dicts, not JSON") as caught:
        pool_of(tmp_path, path)
    command = caught.value.fix.split("`")[1].replace("OLD", "OLD.jsonl")
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    found = pool_of(tmp_path, tmp_path / "NEW.jsonl")
    assert [record.instruction for record in found] == ["Q", "It's"]


@pytest.mark.parametrize(
    ("content", "fix"),
    [
        ("Say hi please,hi\nSay ho please,ho\n", "such as instruction,column_2"),
        ("# exported\ninstruction,output\nQ,A\n", "remove all lines before it"),
        ("instruction^output\nQ^A\n", """ingest.table={delimiter: "^"}"""),
    ],
)
def test_a_table_without_a_usable_header_is_refused_with_a_fix(
    tmp_path: Path, content: str, fix: str
):
    (tmp_path / "pool.csv").write_text(content)
    with pytest.raises(DataError) as caught:
        pool_of(tmp_path, tmp_path / "pool.csv")
    assert fix in caught.value.fix


def test_a_quote_that_is_not_closed_is_refused_with_a_fix_that_works(tmp_path: Path):
    path = tmp_path / "pool.csv"
    path.write_text('instruction,output\n"Say hi,A\nSay ho,B\n"Say ha,C\nSay he,D\n')
    with pytest.raises(DataError) as caught:
        pool_of(tmp_path, path)
    assert "-S 'ingest.table={quotes: none}'" in caught.value.fix
    found = pool_of(tmp_path, path, table={"quotes": "none"})
    assert [record.output for record in found] == ["A", "B", "C", "D"]


def test_a_line_with_one_list_is_read_as_its_rows_and_the_log_says_so(tmp_path: Path, caplog):
    (tmp_path / "pool.jsonl").write_text(json.dumps({"version": 1, "data": [{"prompt": "Q"}]}))
    assert [found.instruction for found in pool_of(tmp_path, tmp_path / "pool.jsonl")] == ["Q"]
    assert "is one object with a list" in caplog.text


@pytest.mark.skipif(shutil.which("sed") is None, reason="needs sed")
def test_unknown_roles_are_refused_with_a_command_that_works(tmp_path: Path):
    row = {"dialog": said("0_Apprentice: Q", "1_Wizard: A", role="speaker", content="text")}
    path = tmp_path / "OLD.jsonl"
    path.write_text(json.dumps(row))
    with pytest.raises(DataError, match="the roles are 0_apprentice, 1_wizard") as caught:
        pool_of(tmp_path, path)
    command = caught.value.fix.split("`")[1].replace("OLD", "OLD.jsonl").replace("NEW", "NEW.jsonl")
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert short(pool_of(tmp_path, tmp_path / "NEW.jsonl")[0]) == Expected("Q", "A")
