"""Tables of text in every dialect: the delimiter and quotes are found, or a warning is logged."""

import csv
import io
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.ingest.dialect import check_table_keys
from tasks.ingest.rows import Fault
from tasks.lib.core.errors import DataError, ParamError
from tests.ingest_rows import read_file

PROSE = ["Say hi, please.", "It's 5 o'clock; now what?", "a | b", "Dogs' bowl", "C:\\new\\dir"]


@pytest.fixture
def read(read_as):
    return lambda *file, **table: [row for _, row in read_as(*file, **table)]


def test_quotes_that_are_part_of_the_text_do_not_join_rows_of_a_tsv(read):
    rows = ['"Hello', 'Say "bye', 'five" nails', "plain", '"quoted" word']
    content = "instruction\tn\n" + "".join(f"{row}\t{n}\n" for n, row in enumerate(rows))
    assert read("a.tsv", content) == [
        {"instruction": row, "n": str(n)} for n, row in enumerate(rows)
    ]


def test_quotes_around_tsv_cells_are_removed(read):
    content = 'a\tb\n"x\ty"\t1\n"two\nlines"\t"say ""hi"""\n'
    assert read("a.tsv", content) == [{"a": "x\ty", "b": "1"}, {"a": "two\nlines", "b": 'say "hi"'}]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_any_common_delimiter_is_found_under_any_name(read, name, delimiter):
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter)
    writer.writerows([["instruction", "n"], *([text, n] for n, text in enumerate(PROSE))])
    rows = read(name, file.getvalue())
    assert [row["instruction"] for row in rows] == PROSE


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;"])
def test_a_first_line_may_name_the_delimiter(tmp_path, first):
    path = tmp_path / "a.csv"
    path.write_text(f"{first}\r\na,x;b\r\n1,2;3\r\n", newline="")
    assert list(read_file(path)) == [(3, {"a,x": "1,2", "b": "3"})]


def test_quotes_escaped_by_a_backslash_are_found_and_other_backslashes_stay(read):
    content = 'a,b\n"She said \\"hi, all\\".",1\n"\\\\frac{1}{2}",2\n"C:\\new",3\n"\\"x\\"",4\n'
    assert [row["a"] for row in read("a.csv", content)] == [
        'She said "hi, all".',
        "\\\\frac{1}{2}",
        "C:\\new",
        '"x"',
    ]


def test_single_quotes_around_every_cell_are_found(read):
    content = "'a','b'\n'It''s, well','1'\n'x, y','2'\n'z','3'\n"
    assert [row["a"] for row in read("a.csv", content)] == ["It's, well", "x, y", "z"]


def test_a_space_between_delimiter_and_quote_is_skipped(read):
    content = 'a, b\n1, "x, y"\n2, "z, ""w"""\n3, "v"\n'
    assert [row["b"] for row in read("a.csv", content)] == ["x, y", 'z, "w"', "v"]


def test_one_column_needs_no_quotes(read):
    rows = read("a.csv", 'instruction\nSay hi, please.\n"Say ""bye"", please."\n')
    assert [row["instruction"] for row in rows] == ["Say hi, please.", 'Say "bye", please.']


def test_poems_and_tables_in_quoted_cells_stay_in_one_cell(read):
    poem = "Roses, red\nViolets, blue\n"
    table = "Sort this:\na,b\n1,2"
    file = io.StringIO(newline="")
    csv.writer(file).writerows([["a", "b"], *[[poem, table]] * 20])
    assert read("a.csv", file.getvalue()) == [{"a": poem, "b": table}] * 20


def test_a_cell_that_contains_whole_rows_logs_a_warning_with_its_line(read, caplog):
    content = 'a,b\nx,1\n"y,2\nz,3\nw",4\nv,5\n'
    assert len(read("a.csv", content)) == 3
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "a.csv:3: this row has 3 lines, and most look like separate rows" in warning
    assert "ingest.table={quotes: none}" in warning
    assert len(read("a.csv", content, quotes="none")) == 5


def test_an_unclosed_quote_far_beyond_the_head_logs_a_warning(read, caplog):
    rows = [f"row {n}\t{n}" for n in range(20_000)]
    rows[15_000], rows[15_003] = '"row\t1', 'row"\t2'
    read("a.tsv", "\n".join(["a\tb", *rows]))
    assert "a.tsv:15002" in caplog.text
    assert len(read("a.tsv", "\n".join(["a\tb", *rows]), quotes="none")) == 20_000


def test_further_warnings_are_only_counted(read, caplog):
    content = "a,b\n" + '"y,2\nz,3\nw",4\n' * 1 + "v,5\n" * 20_000 + '"y,2\nz,3\nw",4\n' * 5
    read("a.csv", content)
    assert "3 more rows like these" in caplog.text


def test_an_unusual_dialect_is_logged(read, caplog):
    caplog.set_level(logging.INFO, "selectllm")
    read("a.csv", "a,b\n1,2\n")
    assert caplog.text == ""
    read("a.csv", "a;b\n1;2\n")
    assert "separated by ';'" in caplog.text


def test_a_chosen_dialect_is_not_changed(read):
    assert read("a.csv", "a;b,c\n1;2,3\n", delimiter=",") == [{"a;b": "1;2", "c": "3"}]
    with pytest.raises(DataError, match="never closed") as caught:
        read("a.tsv", 'a\tb\n"x\t1\n', quotes="double")
    assert "quotes: none" in caught.value.fix


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"delimeter": ","}, "did you mean delimiter"),
        ({"delimiter": "ab"}, "one character"),
        ({"quotes": "maybe"}, "double, backslash, none, single, spaced"),
    ],
)
def test_the_keys_of_a_dialect_are_checked(table, message):
    with pytest.raises(ParamError, match=message):
        check_table_keys(table)


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1, max_size=12)


@settings(max_examples=150)
@given(
    rows=st.lists(st.tuples(CELL, CELL), min_size=1, max_size=6),
    delimiter=st.sampled_from([",", "\t"]),
)
def test_whatever_the_csv_module_writes_is_read_back(tmp_path_factory, rows, delimiter):
    path = tmp_path_factory.getbasetemp() / ("d.csv" if delimiter == "," else "d.tsv")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerows([("a", "b"), *rows])
    table = {"quotes": "double"} if delimiter == "\t" else {}
    actual = [row for _, row in read_file(path, table)]
    assert not any(isinstance(row, Fault) for row in actual)
    assert [(row["a"], row["b"]) for row in actual] == rows
