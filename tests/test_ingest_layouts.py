"""Layouts of public pools, and the record that each becomes."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.ingest_rows import pool_of, record, results
from tests.layout_parts import AFTER_ONE, TWO, Expected, said, short
from tests.layouts import LAYOUTS

IN_FILES = [
    *("Alpaca with history", "self-instruct", "Hugging Face sequences", "OpenAI with tools"),
    *("WildChat", "UltraChat", "moss 003", "Argilla with two fields", "HH-RLHF", "ChatML"),
    *("prompt and completion of messages", "Capybara", "MT-Bench", "OpenOrca", "xlam"),
    *("CoQA as published", "QuAC", "ARC", "Berkeley Function Calling"),
]


@pytest.mark.parametrize("name", IN_FILES)
@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "tsv", "parquet"])
def test_every_reader_gives_the_same_record(tmp_path: Path, name: str, suffix: str):
    row, expected = LAYOUTS[name]
    path = tmp_path / f"pool.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist([row]), path)
    elif suffix in {"csv", "tsv"}:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(
                file, list(row), dialect="excel-tab" if suffix == "tsv" else "excel"
            )
            writer.writeheader()
            writer.writerow({key: as_text(cell) for key, cell in row.items()})
    else:
        path.write_text(json.dumps(row) if suffix == "jsonl" else json.dumps([row]))
    assert short(pool_of(tmp_path, path)[0]) == expected


@pytest.mark.parametrize("cell", [repr(said(*TWO)), repr(said(*TWO)).replace("}, {", "}\n {")])
def test_lists_may_be_written_as_python_or_numpy_print_them(tmp_path: Path, cell: str):
    path = tmp_path / "pool.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["messages"], [cell]])
    assert short(pool_of(tmp_path, path)[0]) == AFTER_ONE


def test_a_pool_that_was_read_once_gives_the_same_ids_again(tmp_path: Path):
    rows = [LAYOUTS[name][0] for name in ("OpenAI with tools", "Alpaca", "WildChat", "COIG")]
    for number, row in enumerate(rows):
        (tmp_path / "pool.jsonl").write_text(json.dumps(row))
        (first,) = pool_of(tmp_path, tmp_path / "pool.jsonl")
        path = tmp_path / f"again{number}.parquet"
        shutil.copy(tmp_path / "data/ingest/pool.parquet", path)
        assert pool_of(tmp_path, path)[0].id == first.id


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_public_layout_becomes_the_expected_record(name: str):
    row, expected = LAYOUTS[name]
    assert short(record(row)) == expected


def as_text(cell: Any) -> Any:
    return json.dumps(cell) if isinstance(cell, list | dict) else cell


# Text of an output is kept as it is: JSON may be what was asked for.
UNLIKE_TEXT = (
    *("a task file", "ChatGPT", "runs of", "examples of", "items of", "Helicone", "SQuAD"),
    "responses of",
)


@pytest.mark.parametrize("name", [name for name in LAYOUTS if not name.startswith(UNLIKE_TEXT)])
def test_lists_and_objects_may_be_json_text(name: str):
    row, expected = LAYOUTS[name]
    assert short(record({key: as_text(cell) for key, cell in row.items()})) == expected


@pytest.mark.parametrize(
    "text",
    [
        "What does <|im_start|>user mean?",
        "Explain what [INST] does.",
        "Write a README with ### Usage: and ### Response: headings.",
        "Continue: Human: hi",
        "x[1]: y",
        '["a", "b"]',
        "[1, 2, 3]",
        "Summarise.\n\nHuman: hi\nAssistant: hello",
    ],
)
def test_a_text_about_marks_is_not_a_conversation(text: str):
    assert short(record({"instruction": text})) == Expected(text)


@pytest.mark.parametrize("write", [json.dumps, list])
def test_a_column_of_lists_of_texts_holds_questions(write: Any):
    rows = [{"prompt": write(["Q", "Q2"]), "response_a": write(["A", "A2"])} for _ in range(2)]
    rows[1]["prompt"] = write(["R"])
    assert [short(result.record) for result in results(rows)] == [
        Expected("Q2", turns=(("u", "Q"),)),
        Expected("R"),
    ]
