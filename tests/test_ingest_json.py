"""JSON Lines and JSON: every way to write rows, and the faulty rows and files."""

import gzip
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.ingest import json_window
from tasks.ingest.json_lines import as_row
from tasks.ingest.json_text import read_json
from tasks.ingest.unpack_limit import ReadBound
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.errors import DataError
from tests.ingest_rows import LIMITS, TEXT, drops, read_file


def test_blank_json_lines_are_skipped_but_counted(read_as):
    assert read_as("a.jsonl", '\n{"a": 1}\r\n  \n{"a": 2}') == [(2, {"a": 1}), (4, {"a": 2})]


def test_marks_between_joined_files_and_json_sequences_are_skipped(read_as):
    rows = read_as("a.jsonl", '\x1e{"a": 1}\n\ufeff{"a": 2}\n')
    assert rows == [(1, {"a": 1}), (2, {"a": 2})]


def test_each_faulty_json_line_is_dropped_with_its_reason(read_as):
    huge = b'{"a": 1' + b"0" * 5000 + b"}"
    deep = b'{"a": ' + b"[" * 200_000 + b"}"
    lines = [b'{"a": 1}', b"{oops", b"[1]", b'{"a": "caf\xe9"}', huge, deep, b'{"a": 2}']
    rows = read_as("a.jsonl", b"\n".join(lines))
    assert drops(rows) == [
        (2, IngestDrop.NOT_JSON),
        (3, IngestDrop.NOT_OBJECT),
        (5, IngestDrop.NOT_JSON),
        (6, IngestDrop.NOT_JSON),
    ]
    assert rows[0] == (1, {"a": 1})
    assert rows[-1] == (7, {"a": 2})


def test_json_lines_are_read_one_at_a_time(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 100_000)[:-40])
    rows = read_file(path)
    assert next(rows) == (1, {"a": 1})  # the damage at the end is not reached yet
    with pytest.raises(DataError, match="damaged"):
        list(rows)


@given(
    rows=st.lists(
        st.one_of(
            st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.none())),
            st.integers(),
        )
    ),
    indent=st.sampled_from([None, 1]),
    chunk=st.integers(1, 9),
)
def test_an_array_gives_the_same_rows_for_chunks_of_any_size(rows, indent, chunk):
    content = json.dumps(rows, indent=indent, ensure_ascii=True).encode()
    stream = io.BufferedReader(io.BytesIO(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_window, "CHUNK_CHARS", chunk)
        actual = [
            row for _, row in read_json(stream, "a.json", ReadBound(0, LIMITS), is_lines=False)
        ]
    assert actual == [as_row(row, LIMITS) for row in rows]


def test_faulty_elements_of_an_array_are_dropped_with_their_reason(read_as):
    rows = read_as("a.json", b'[{"a": 1}, 22, {"a": "caf\xe9"}, null,\n{"a": 2}]')
    assert drops(rows) == [(2, IngestDrop.NOT_OBJECT), (4, IngestDrop.NOT_OBJECT)]
    assert rows[2] == (3, {"a": "caf\udce9"})
    assert rows[-1] == (5, {"a": 2})


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ('[{"a": 1},\n {"a": }]', 2, "not JSON"),
        ('[{"a": 1}\n\n {"a": 2}]', 3, "expected ,"),
        ('[{"a": 1},', 1, "not JSON"),
        ('[{"a": 1}', 1, "expected ,"),
        ('[{"a": 1}]\n[]', 2, "nothing after"),
        ("[" * 200_000, 1, "nested too deeply"),
    ],
)
def test_a_broken_array_is_refused_with_its_line(read_as, content, line, message):
    with pytest.raises(DataError, match=message) as caught:
        read_as("a.json", content)
    assert caught.value.where.endswith(f"a.json:{line}")


def test_a_json_file_may_hold_json_lines(read_as):
    assert read_as("a.json", '{"a": 1}\n{"a": 2}\n') == [(1, {"a": 1}), (2, {"a": 2})]
    assert drops(read_as("a.json", '{oops\n{"a": 2}\n')) == [(1, IngestDrop.NOT_JSON)]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_json_file_may_be_one_object_with_one_list_of_rows(read_as, name, indent):
    whole = {"version": 1, "tags": ["a"], "data": [TEXT, TEXT], "meta": {"n": [{"role": 1}]}}
    assert read_as(name, json.dumps(whole, indent=indent)) == [(1, TEXT), (2, TEXT)]
    large = {"version": 1, "data": [{**TEXT, "n": n} for n in range(5000)]}
    assert len(read_as(name, json.dumps(large, indent=indent))) == 5000


@pytest.mark.parametrize("indent", [None, 2])
def test_one_object_with_several_lists_is_refused_and_the_message_says_how_to_extract_one(
    read_as, indent
):
    whole = {"train": [TEXT], "n": 1, "test": [TEXT]}
    with pytest.raises(DataError, match="several lists of objects: train and test") as caught:
        read_as("a.json", json.dumps(whole, indent=indent))
    assert """jq -c '.["train"][]'""" in caught.value.fix
    with pytest.raises(DataError, match="one object with the keys 0, 1"):
        read_as("a.json", json.dumps({"0": TEXT, "1": TEXT}, indent=2))


def test_one_conversation_is_a_row_not_a_list_of_rows(read_as):
    row = {"messages": [{"role": "user", "content": "Hi"}]}
    assert read_as("a.json", json.dumps(row)) == [(1, row)]
    assert read_as("a.jsonl", json.dumps(row)) == [(1, row)]


@pytest.mark.parametrize("n", [2, 2000])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_jsonl_file_may_hold_an_array(read_as, n, indent):
    rows = read_as("a.jsonl", json.dumps([TEXT] * n, indent=indent))
    assert rows == [(number, TEXT) for number in range(1, n + 1)]


@pytest.mark.parametrize("n", [2, 2000])
@pytest.mark.parametrize("join", ["\n", ",\n", "", ", "])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_jsonl_file_may_hold_objects_after_each_other(read_as, n, join, indent):
    rows = read_as("a.jsonl", join.join([json.dumps(TEXT, indent=indent)] * n))
    n_lines = join.count("\n") + (3 if indent else 0)
    assert rows == [(1 + n_lines * number, TEXT) for number in range(n)]


def test_lines_of_lists_are_faulty_json_lines(read_as):
    assert drops(read_as("a.jsonl", "[1]\n[2]\n")) == [
        (1, IngestDrop.NOT_OBJECT),
        (2, IngestDrop.NOT_OBJECT),
    ]
