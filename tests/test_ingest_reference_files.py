"""Annotated records, targets and held-out sets, in any layout that ingest reads."""

import json
import logging

import pytest

from tasks.ingest.step import check, work
from tasks.lib.core.errors import DataError
from tasks.lib.core.params import read_params
from tasks.lib.core.records import record_id
from tasks.lib.core.schemas import POOL
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table, write_table
from tests.ingest_rows import SECTION
from tests.workspaces import StepWorkspace

POOL_LINE = '{"question": "Q", "split": "train"}\n'


class Space(StepWorkspace):
    """A workspace with a source whose columns are named in params.yaml."""

    def run(self, decontaminate="data/none.jsonl", **choose):
        (self.root / "pool.jsonl").write_text(POOL_LINE)
        columns = {"columns": {"instruction": "question"}, "exclude": {"split": "test"}}
        files = {"decontaminate": decontaminate, "exclude_file": "data/none.jsonl"}
        self.update(ingest=SECTION | columns | files, choose=choose)
        check(read_params(self.root / "params.yaml"))
        Stage("ingest", self.root).run(work)
        return {
            name: read_table(self.root / f"data/ingest/{name}.parquet", POOL).to_pylist()
            for name in ("annotated", "targets", "held_out")
        }

    def lines(self, name, *rows):
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return name


@pytest.fixture
def space(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Space(tmp_path)


def test_the_tables_are_empty_if_params_name_no_files(space):
    assert space.run() == {"annotated": [], "targets": [], "held_out": []}


@pytest.mark.parametrize("layout", ["source", "alpaca", "chat", "csv", "parquet"])
def test_an_annotated_file_has_any_layout(space, layout):
    name, expected = f"done.{layout}", record_id("Why?", "")
    if layout == "csv":
        (space.root / name).write_text("instruction,output\nWhy?,So.\n")
    elif layout == "parquet":
        row = {"id": "x", "instruction": "Why?", "input": "", "output": "So."}
        write_table(space.root / name, [row | {"source": "p:1", "extra": "{}"}], POOL)
    else:
        turns = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
        row = {
            "source": {"question": "Why?", "split": "test"},
            "alpaca": {"instruction": "Why?", "input": "", "output": "So."},
            "chat": {"messages": turns},
        }[layout]
        name = space.lines(f"{layout}.jsonl", row)
    (record,) = space.run(annotated=name)["annotated"]
    assert (record["id"], record["source"].rpartition(":")[0]) == (expected, name)


def test_several_held_out_sets_are_the_files_of_a_folder(space):
    space.lines("tests/mmlu.jsonl", {"question": "One?"}, {"question": "Two?"})
    space.lines("tests/own.jsonl", {"instruction": "Three?"}, {"instruction": "One?"})
    held_out = space.run(decontaminate="tests")["held_out"]
    assert [(r["instruction"], r["source"]) for r in held_out] == [
        ("One?", "mmlu.jsonl:1"),
        ("Two?", "mmlu.jsonl:2"),
        ("Three?", "own.jsonl:1"),
    ]


@pytest.mark.slow
def test_rows_that_are_not_records_are_skipped_and_counted(space, caplog):
    name = space.lines("done.jsonl", {"question": "Why?"}, {"question": ""}, {"question": None})
    assert len(space.run(annotated=name)["annotated"]) == 1
    (warning,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "choose.annotated: skipped 2 faulty rows in done.jsonl" in warning.getMessage()


@pytest.mark.parametrize(
    ("key", "rows", "words"),
    [
        ("annotated", [{"answer": "So."}], "found no column with instructions"),
        ("annotated", [{"instruction": ""}], "found 0 distinct records, expected at least 1"),
        ("targets", [{"question": q} for q in "ABCA"], "found 3 distinct records, .* at least 4"),
    ],
)
def test_a_file_of_too_few_records_is_refused_by_its_parameter(space, key, rows, words):
    name = space.lines("named.jsonl", *rows)
    with pytest.raises(DataError, match=f"choose.{key}: {words}") as caught:
        space.run(**{key: name})
    assert f"set choose.{key} in params.yaml" in caught.value.fix


def test_a_missing_file_is_refused_with_the_nearest_name(space):
    space.lines("done.jsonl", {"instruction": "Why?"})
    with pytest.raises(DataError, match=r"choose.annotated: .* did you mean done.jsonl\?"):
        space.run(annotated="dome.jsonl")
