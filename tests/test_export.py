"""Every exported format preserves the texts, and only a validated selection is exported."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.export.formats import (
    CSV_COLUMNS,
    FORMATS,
    PROVENANCE_FIELDS,
    alpaca_lines,
    chat_lines,
    csv_lines,
    pool_columns,
    safe_cell,
)
from tasks.export.step import check, work
from tasks.lib.core.errors import CheckFailed, ParamError
from tasks.lib.core.records import TEXT_COLUMNS, record_id, record_text
from tasks.lib.core.schemas import SELECTED
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table, write_table
from tests.workspaces import StepWorkspace

TRAPS = [
    *("=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "＝1", "'quoted'", "''", "'"),
    *("1234567890123456", "12e4567890123456", "1,234.50", '"', 'a "b", c', "a\r\nb", "a\n\nb"),
    *("a\u2028b\x85c\u2029", "\ufeffx", "naïve 文字 🥨", "\x0b\x1c", "\\n", "ﬁ e\u0301"),
]
TEXTS = st.sampled_from(TRAPS) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30
)


def record(instruction: str, text: str = "", output: str | None = None) -> dict[str, Any]:
    return {
        "id": record_id(instruction, text),
        "instruction": instruction,
        "input": text,
        "output": output,
        "system": None,
        "turns": None,
        "tools": None,
        "source": "toy.jsonl:7",
        "extra": '{"id": 7, "split": "train", "tags": ["a"]}',
        "prompt": 3,
        "slot": 2,
        "rank": 1,
        "score": 0.75,
        "votes": 1,
        "method": "llm",
        "gain": 0.125,
        "cluster": 5,
        "route": "chatgpt",
        "model": "openai/some",
    }


RECORDS = st.lists(
    st.builds(record, TEXTS, st.just("") | TEXTS, st.none() | TEXTS), min_size=1, max_size=4
)
SOME = [record("Name a bridge."), record("=1+1", "x\ny", "two"), record("Say «hi» 🥨")]


def parse(text: str) -> list[dict[str, Any]]:
    assert text.endswith("\n")
    # splitlines, since a reader may break lines wherever Python does
    return [json.loads(line) for line in text.splitlines()]


def cells_of(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True))


@given(RECORDS)
def test_alpaca_preserves_every_text(records: list[dict[str, Any]]):
    for line, given_record in zip(parse("".join(alpaca_lines(records))), records, strict=True):
        assert line["output"] == (given_record["output"] or "")
        for name in ("id", "instruction", "input", *PROVENANCE_FIELDS):
            assert line[name] == given_record[name]


@given(RECORDS)
def test_chat_preserves_every_text_in_turns(records: list[dict[str, Any]]):
    for line, given_record in zip(parse("".join(chat_lines(records))), records, strict=True):
        user = record_text(given_record["instruction"], given_record["input"])
        turns = [("user", user)]
        if given_record["output"] is not None:
            turns.append(("assistant", given_record["output"]))
        assert [(message["role"], message["content"]) for message in line["messages"]] == turns
        assert line["id"] == given_record["id"]
        assert line["provenance"] == {name: given_record[name] for name in PROVENANCE_FIELDS}


def plain(cell: str) -> str:
    return cell.removeprefix("'")


@given(RECORDS)
def test_csv_preserves_every_text_with_an_empty_output(records: list[dict[str, Any]]):
    header, *rows = cells_of("".join(csv_lines(records)))
    assert tuple(header) == CSV_COLUMNS
    for row, given_record in zip(rows, records, strict=True):
        cells = dict(zip(header, map(plain, row), strict=True))
        expected = given_record | {"context": "", "output": ""}
        assert cells == {name: str(expected[name]) for name in CSV_COLUMNS}


@pytest.mark.slow
@settings(max_examples=25)
@given(RECORDS)
def test_parquet_preserves_every_column(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]]
):
    root = workspace(tmp_path_factory.mktemp("parquet"), records, ["parquet"])
    Stage("export", root).run(work)
    path = root / "data" / "export" / "selection.parquet"
    assert read_table(path, SELECTED).to_pylist() == records


@given(TEXTS)
@example("")
def test_a_cell_can_be_restored(text: str):
    assert plain(safe_cell(text)) == text


@given(st.sampled_from("=+-@\t\r\n＝＋－＠'"), TEXTS)
def test_no_cell_looks_like_a_formula(first: str, text: str):
    assert safe_cell(first + text) == "'" + first + text


@pytest.mark.parametrize("text", ["1234567890123456", "12e4567890123456", "0012", "1,234.50", "7"])
def test_no_cell_looks_like_a_number(text: str):
    assert safe_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "a=1", "3 uses of wax", "a1b2c3d4e5f60718", "12e3x", "e"])
def test_a_harmless_cell_is_unchanged(text: str):
    assert safe_cell(text) == text


def test_a_long_run_of_digits_is_checked_quickly():
    text = "1" * 100_000 + "x"
    assert safe_cell(text) == text


def workspace(root: Path, records: list[dict[str, Any]], formats: list[str]) -> Path:
    space = StepWorkspace(root)
    space.update(export={"formats": formats})
    space.write("choose/selected.parquet", records, SELECTED)
    space.write_json("validate/result.json", {"success": True})
    return root


def exported(root: Path) -> dict[str, bytes]:
    Stage("export", root).run(work)
    return {path.name: path.read_bytes() for path in (root / "data/export").iterdir()}


def test_every_format_is_written_the_same_each_time_with_plain_line_ends(tmp_path: Path):
    root = workspace(tmp_path, SOME, list(FORMATS))
    files = exported(root)
    assert set(files) == {
        *("selection.alpaca.jsonl", "selection.chat.jsonl"),
        *("selection.csv", "selection.parquet"),
    }
    assert exported(root) == files
    texts = [content for name, content in files.items() if not name.endswith(".parquet")]
    assert all(b"\r" not in text and text.endswith(b"\n") for text in texts)
    assert files["selection.csv"].startswith(b"\xef\xbb\xbf")
    assert "Say «hi» 🥨" in files["selection.alpaca.jsonl"].decode()
    assert pq.read_metadata(root / "data/export/selection.parquet").num_rows == len(SOME)


def test_files_of_formats_that_are_no_longer_named_are_removed(tmp_path: Path):
    root = workspace(tmp_path, SOME, ["chat", "csv"])
    assert set(exported(root)) == {"selection.chat.jsonl", "selection.csv"}
    StepWorkspace(root).update(export={"formats": ["alpaca"]})
    assert set(exported(root)) == {"selection.alpaca.jsonl"}


@pytest.mark.parametrize("result", ['{"success": false}', "{}", "[]", '{"success": "true"}', "no"])
def test_only_a_validated_selection_is_exported(tmp_path: Path, result: str):
    root = workspace(tmp_path, SOME, ["csv"])
    (root / "data/validate/result.json").write_text(result)
    with pytest.raises(CheckFailed, match="expected a validated selection"):
        exported(root)
    assert not (root / "data/export").exists()


@pytest.mark.parametrize(
    ("formats", "message"),
    [
        ([], "export.formats: "),
        (["csv", "csv"], "export.formats: expected each format only once, not"),
        (["xlsx"], "export.formats.0: expected one of alpaca, chat, csv, parquet, not 'xlsx'"),
        ("csv", "export.formats: "),
    ],
)
def test_formats_are_a_list_of_known_names_without_duplicates(formats: Any, message: str):
    with pytest.raises(ParamError, match=message):
        check({"export": {"formats": formats}})


def test_the_columns_of_the_schema_are_those_that_are_exported():
    table = pa.Table.from_pylist(SOME, schema=SELECTED)
    columns = {*PROVENANCE_FIELDS, *TEXT_COLUMNS, "id", "output", "extra"}
    assert columns == set(table.column_names)


TOOLS = [{"name": "clock"}]
PAIR = [{"role": "user", "content": "=Q"}, {"role": "assistant", "content": "A"}]


def talk(*turns: dict[str, Any]) -> dict[str, Any]:
    """Return a record with context."""
    context = {"system": "Be kind.", "turns": json.dumps(turns), "tools": json.dumps(TOOLS)}
    return record("Make it shorter.", "x", "Done.") | context


def test_every_text_format_has_the_context_and_the_columns_of_the_pool():
    records = [talk(*PAIR), record("Plain.")]
    alpaca, plain = parse("".join(alpaca_lines(records)))
    assert alpaca["history"] == [["=Q", "A"]]
    assert (alpaca["system"], alpaca["tools"]) == ("Be kind.", TOOLS)
    assert alpaca["metadata"] == {"id": 7, "split": "train", "tags": ["a"]}
    assert not {"history", "system", "tools", "turns"} & set(plain)
    chat, _ = parse("".join(chat_lines(records)))
    assert [(m["role"], m["content"]) for m in chat["messages"]] == [
        ("system", "Be kind."),
        *(("user", "=Q"), ("assistant", "A")),
        *(("user", "Make it shorter.\n\nx"), ("assistant", "Done.")),
    ]
    assert (chat["tools"], chat["metadata"]) == (TOOLS, alpaca["metadata"])
    header, first, second = cells_of("".join(csv_lines(records, pool_columns(records))))
    cells = dict(zip(header, first, strict=True))
    for text in ("Be kind.", "=Q", "A", '"clock"'):
        assert text in cells["context"]
    assert [cells[f"pool.{name}"] for name in ("id", "split", "tags")] == ["7", "train", '["a"]']
    assert dict(zip(header, second, strict=True))["context"] == ""


def test_alpaca_keeps_earlier_turns_that_are_not_pairs():
    call = {"role": "assistant", "content": "", "tool_calls": [{"name": "clock"}]}
    (line,) = parse("".join(alpaca_lines([talk(PAIR[0], call)])))
    assert line["turns"] == [PAIR[0], call]
    assert "history" not in line


def test_annotators_do_not_see_the_answers_of_later_turns():
    later = {"extra": json.dumps({"later_turns": PAIR, "n": 1})}
    assert pool_columns([record("Q") | later]) == ["n"]


def test_a_half_surrogate_pair_in_a_column_of_the_pool_is_exported_as_an_escape(tmp_path: Path):
    extra = json.dumps({"\ud800": "a", "b": "\ud800", "c": ["\ud800"]})
    write_table(tmp_path / "selected.parquet", [SOME[0] | {"extra": extra}], SELECTED)
    for kind in FORMATS.values():
        kind.write(tmp_path / "selected.parquet", tmp_path / kind.file_name)
    (line,) = (tmp_path / "selection.alpaca.jsonl").read_text().splitlines()
    assert json.loads(line)["metadata"] == json.loads(extra)
    assert "pool.\\ud800" in (tmp_path / "selection.csv").read_text()
