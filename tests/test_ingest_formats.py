"""Files of every format: their rows, their faulty rows, and files that cannot be read."""

import bz2
import csv
import gzip
import io
import json
import lzma
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.ingest import json_window
from tasks.ingest.json_lines import as_row
from tasks.ingest.json_text import read_json
from tasks.ingest.rows import Fault
from tasks.ingest.tally import Tally, check_drop_rate
from tasks.ingest.unpack_limit import ReadBound
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.errors import DataError
from tests.ingest_rows import LIMITS, read_file, reasons, results

TEXT = {"instruction": "Say hé", "input": "a\nb"}


@pytest.fixture
def read(tmp_path):
    """Return a function that writes a file and returns the rows that are read from it."""

    def write_and_read(name, content):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return list(read_file(path))

    return write_and_read


def drops(rows):
    return [(line, row.reason) for line, row in rows if isinstance(row, Fault)]


def as_csv(rows, delimiter=","):
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def as_parquet(table):
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


CONTENTS = {
    ".jsonl": "".join(json.dumps(row) + "\n" for row in [TEXT, TEXT]).encode(),
    ".ndjson": b"\xef\xbb\xbf" + "\r\n".join([json.dumps(TEXT)] * 2).encode(),
    ".json": json.dumps([TEXT, TEXT], indent=2).encode(),
    ".csv": as_csv([TEXT, TEXT]),
    ".tsv": as_csv([TEXT, TEXT], "\t"),
    ".parquet": as_parquet(pa.Table.from_pylist([TEXT, TEXT])),
}


COMPRESS = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": partial(pa.compress, codec="zstd", asbytes=True),
}


@pytest.mark.parametrize("packed", COMPRESS)
@pytest.mark.parametrize("suffix", CONTENTS)
def test_every_format_gives_the_same_rows_compressed_or_not(read, suffix, packed):
    rows = read(f"pool{suffix.upper()}{packed}", COMPRESS[packed](CONTENTS[suffix]))
    assert [row for _, row in rows] == [TEXT, TEXT]


@pytest.mark.slow
@pytest.mark.parametrize("packed", [suffix for suffix in COMPRESS if suffix])
def test_a_compressed_file_that_is_damaged_or_misnamed_is_refused(read, packed):
    content = COMPRESS[packed](CONTENTS[".jsonl"] * 20_000)
    with pytest.raises(DataError, match=r"damaged or cut off after line [1-9]"):
        read(f"a.jsonl{packed}", content[:-9])
    with pytest.raises(DataError, match="damaged or cut off after line 0"):
        read(f"a.jsonl{packed}", content[:9] + b"surely no compressed data")
    with pytest.raises(DataError, match=f"Rename the file to end with {packed}"):
        read("a.jsonl", content)
    with pytest.raises(DataError, match=rf"content is not \w+, but the name ends with {packed}"):
        read(f"a.jsonl{packed}", CONTENTS[".jsonl"])


def test_blank_json_lines_are_skipped_but_counted(read):
    assert read("a.jsonl", '\n{"a": 1}\r\n  \n{"a": 2}') == [(2, {"a": 1}), (4, {"a": 2})]


def test_marks_between_joined_files_and_json_sequences_are_skipped(read):
    rows = read("a.jsonl", '\x1e{"a": 1}\n\ufeff{"a": 2}\n')
    assert rows == [(1, {"a": 1}), (2, {"a": 2})]


def test_each_faulty_json_line_is_dropped_with_its_reason(read):
    huge = b'{"a": 1' + b"0" * 5000 + b"}"
    deep = b'{"a": ' + b"[" * 200_000 + b"}"
    lines = [b'{"a": 1}', b"{oops", b"[1]", b'{"a": "caf\xe9"}', huge, deep, b'{"a": 2}']
    rows = read("a.jsonl", b"\n".join(lines))
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


def test_faulty_elements_of_an_array_are_dropped_with_their_reason(read):
    rows = read("a.json", b'[{"a": 1}, 22, {"a": "caf\xe9"}, null,\n{"a": 2}]')
    assert drops(rows) == [
        (2, IngestDrop.NOT_OBJECT),
        (4, IngestDrop.NOT_OBJECT),
    ]
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
def test_a_broken_array_is_refused_with_its_line(read, content, line, message):
    with pytest.raises(DataError, match=message) as caught:
        read("a.json", content)
    assert caught.value.where.endswith(f"a.json:{line}")


def test_a_json_file_may_hold_json_lines(read):
    assert read("a.json", '{"a": 1}\n{"a": 2}\n') == [(1, {"a": 1}), (2, {"a": 2})]
    assert drops(read("a.json", '{oops\n{"a": 2}\n')) == [(1, IngestDrop.NOT_JSON)]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_json_file_may_be_one_object_with_one_list_of_rows(read, name, indent):
    whole = {"version": 1, "tags": ["a"], "data": [TEXT, TEXT], "meta": {"n": [{"role": 1}]}}
    assert read(name, json.dumps(whole, indent=indent)) == [(1, TEXT), (2, TEXT)]
    large = {"version": 1, "data": [{**TEXT, "n": n} for n in range(5000)]}
    assert len(read(name, json.dumps(large, indent=indent))) == 5000


@pytest.mark.parametrize("indent", [None, 2])
def test_one_object_with_several_lists_is_refused_and_the_message_says_how_to_extract_one(
    read, indent
):
    whole = {"train": [TEXT], "n": 1, "test": [TEXT]}
    with pytest.raises(DataError, match="several lists of objects: train and test") as caught:
        read("a.json", json.dumps(whole, indent=indent))
    assert """jq -c '.["train"][]'""" in caught.value.fix
    with pytest.raises(DataError, match="one object with the keys 0, 1"):
        read("a.json", json.dumps({"0": TEXT, "1": TEXT}, indent=2))


def test_one_conversation_is_a_row_not_a_list_of_rows(read):
    row = {"messages": [{"role": "user", "content": "Hi"}]}
    assert read("a.json", json.dumps(row)) == [(1, row)]
    assert read("a.jsonl", json.dumps(row)) == [(1, row)]


@pytest.mark.parametrize("n", [2, 2000])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_jsonl_file_may_hold_an_array(read, n, indent):
    rows = read("a.jsonl", json.dumps([TEXT] * n, indent=indent))
    assert rows == [(number, TEXT) for number in range(1, n + 1)]


@pytest.mark.parametrize("n", [2, 2000])
@pytest.mark.parametrize("join", ["\n", ",\n", "", ", "])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_jsonl_file_may_hold_objects_after_each_other(read, n, join, indent):
    rows = read("a.jsonl", join.join([json.dumps(TEXT, indent=indent)] * n))
    n_lines = join.count("\n") + (3 if indent else 0)
    assert rows == [(1 + n_lines * number, TEXT) for number in range(n)]


def test_lines_of_lists_are_faulty_json_lines(read):
    assert drops(read("a.jsonl", "[1]\n[2]\n")) == [
        (1, IngestDrop.NOT_OBJECT),
        (2, IngestDrop.NOT_OBJECT),
    ]


def test_a_csv_row_has_the_number_of_its_first_line(read):
    rows = read("a.csv", '\ufeffa,b\r\n\r\n"x\ny\nz",1\r\nu,2\r\n')
    assert rows == [(3, {"a": "x\ny\nz", "b": "1"}), (6, {"a": "u", "b": "2"})]


def test_faulty_csv_rows_are_dropped_with_their_reason(read):
    rows = read("a.csv", b'a,b\n1\n1,2,3\n"x" y,2\ncaf\xe9,2\n5" nail,2\n')
    assert drops(rows) == [
        (2, IngestDrop.WRONG_CELLS),
        (3, IngestDrop.WRONG_CELLS),
        (4, IngestDrop.WRONG_CELLS),
    ]
    assert rows[-1] == (6, {"a": '5" nail', "b": "2"})


LONG = "x" * 200_000  # above the default limit of the csv module


@pytest.mark.parametrize(
    ("content", "row"),
    [
        (",a\n0,x\n", {"column_1": "0", "a": "x"}),
        ("a;b\nx,y;2\n", {"a": "x,y", "b": "2"}),
        (f"a\n{LONG}\n", {"a": LONG}),
    ],
    ids=["column without a name", "semicolons", "long cell"],
)
def test_csv_may_have_nameless_columns_semicolons_and_long_cells(read, content, row):
    assert read("a.csv", content) == [(2, row)]


def test_an_unclosed_csv_quote_is_refused_with_its_line(read):
    with pytest.raises(DataError, match="never closed") as caught:
        read("a.csv", 'a,b\n1,2\n3,"four\n5,6\n')
    assert caught.value.where.endswith("a.csv:3")


@pytest.mark.parametrize(
    ("header", "message"), [(b"a,b,a", "two columns are named 'a'"), (b"a,\xe9\nb\nc", "header")]
)
def test_an_unreadable_csv_header_or_a_duplicate_name_is_refused(read, header, message):
    with pytest.raises(DataError, match=message):
        read("a.csv", header + b"\n1,2,3\n1,2,3\n")


def test_a_parquet_text_that_is_not_utf8_drops_only_its_row(read):
    offsets = pa.array([0, 1, 2, 3], pa.int32()).buffers()[1]
    texts = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"a\xffb"))
    rows = read("a.parquet", as_parquet(pa.table({"a": texts})))
    assert rows == [(1, {"a": "a"}), (2, {"a": "\udcff"}), (3, {"a": "b"})]
    assert reasons([row for _, row in rows], columns={"instruction": "a"}) == [
        None,
        IngestDrop.BAD_ENCODING,
        None,
    ]


@pytest.mark.parametrize("cut", [3, 100, -6])
def test_a_damaged_parquet_file_is_refused(read, cut):
    with pytest.raises(DataError, match="not readable as Parquet"):
        read("a.parquet", CONTENTS[".parquet"][:cut])


@pytest.mark.parametrize(
    ("text", "encoding", "guess"),
    [
        ("Où est le café?", "utf-16", "UTF-16"),
        ("Où est le café?", "utf-16-le", "UTF-16LE"),
        ("Où est le café?", "utf-16-be", "UTF-16BE"),
        ("Où est le café?", "utf-32", "UTF-32"),
        ("Où est le café?", "cp1252", "CP1252"),
        ("Schöne Grüße", "latin-1", "CP1252"),
        ("Объясните, почему небо голубое.", "cp1251", "CP1251"),
        ("なぜ空は青く見えるのか説明してください。", "shift_jis", "CP932"),
        ("为什么天空在晴朗的日子里是蓝色的？", "gb18030", "GB18030"),
        ("为什么天空在晴朗的日子里是蓝色的？", "utf-16-le", "UTF-16LE"),
    ],
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv"])
def test_a_file_in_another_encoding_is_refused_with_a_guess(read, name, text, encoding, guess):
    content = f'{{"instruction": "{text}"}}\n' * 3
    with pytest.raises(DataError, match=rf"not UTF-8 but probably {guess}\n") as caught:
        read(name, content.encode(encoding))
    assert f"iconv -f {guess} " in caught.value.fix


def test_rows_in_another_encoding_are_refused_with_a_guess(tmp_path):
    rows = [{"instruction": "Schöne Grüße".encode("cp1252").decode("utf-8", "surrogateescape")}] * 3
    tally = Tally("line {}".format)
    for row in results(rows):
        tally.drop(row)
    with pytest.raises(DataError, match="iconv -f CP1252 -t UTF-8"):
        check_drop_rate(tally, 0.05, "pool.csv")


def test_a_guess_does_not_depend_on_where_the_head_ends(read):
    rows = "".join(
        f'{{"a": "{"x" * n}なぜ空は青く見えるのか説明してください。"}}\n' for n in range(1500)
    )
    with pytest.raises(DataError, match=r"probably CP932\n"):
        read("a.jsonl", rows.encode("shift_jis"))


def test_an_unknown_encoding_is_refused_without_a_guess(read):
    with pytest.raises(DataError, match=r"the text is not UTF-8\n") as caught:
        read("a.jsonl", bytes(range(128, 256)) * 4)
    assert "iconv -f ENCODING " in caught.value.fix


@pytest.mark.parametrize("shift", range(4))
def test_a_head_that_ends_inside_a_character_is_utf8(read, shift):
    row = {"a": "x" * shift + "😀" * 20_000}
    assert read("a.jsonl", json.dumps(row, ensure_ascii=False)) == [(1, row)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", "is empty"),
        ("a.doc", b"x", "'.doc' is not a known format"),
        ("a.gz", b"x", "no suffix, so its format is unknown"),
        ("a.josnl", b"x", "did you mean .jsonl"),
        ("a.csv", gzip.compress(b"a", mtime=0), "content is gzip, but the name ends with .csv"),
        ("a.csv", b"PK\x03\x04..[Content_Types].xml", "may be a spreadsheet"),
        ("a.csv", b'{"prompt": "Q"}\n', "Rename the file to end with .jsonl"),
        ("a.txt", b'{"prompt": "Q"}\n{"prompt": "R"}\n', "Rename the file to end with .jsonl"),
        ("a.jsonl", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        ("a.parquet", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("a.json", b"\n<!DOCTYPE html><html>", "Download the file itself"),
        ("a.xlsx", b"x", "save it as CSV"),
        ("a.yaml", b"x", "yq -o json"),
        (
            "a.jsonl.gz",
            gzip.compress(b'{"a": 1}\n', mtime=0)[:-8] + b"12345678",
            "damaged or cut off",
        ),
        ("a.parquet.gz", gzip.compress(CONTENTS[".parquet"], mtime=0)[:-9], "damaged or cut off"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(read, name, content, message):
    with pytest.raises(DataError, match=message):
        read(name, content)


def test_the_message_for_an_unknown_format_lists_the_known_formats(tmp_path):
    path = tmp_path / "a.xlsx"
    path.write_bytes(b"x")
    with pytest.raises(DataError) as caught:
        list(read_file(path))
    for suffix in CONTENTS:
        assert suffix in caught.value.fix


def test_the_message_for_a_missing_file_suggests_the_nearest_name(tmp_path):
    (tmp_path / "instructions.jsonl").write_text("{}")
    with pytest.raises(DataError, match=r"did you mean instructions\.jsonl"):
        list(read_file(tmp_path / "instruction.jsonl"))
    with pytest.raises(DataError, match="no folder"):
        list(read_file(tmp_path / "nowhere" / "a.jsonl"))


def test_the_message_for_a_file_that_is_not_pulled_suggests_dvc_pull(tmp_path):
    (tmp_path / "a.jsonl.dvc").write_text("outs: []")
    with pytest.raises(DataError, match="dvc pull"):
        list(read_file(tmp_path / "a.jsonl"))


@given(name=st.sampled_from(["a.jsonl", "a.json", "a.csv", "a.tsv", "a.parquet"]), raw=st.binary())
def test_any_bytes_give_rows_or_a_data_error(tmp_path_factory, name, raw):
    path: Path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(raw)
    try:
        rows = list(read_file(path))
    except DataError:
        return
    lines = [line for line, _ in rows]
    assert lines == sorted(set(lines))


@given(
    st.lists(
        st.fixed_dictionaries({"a": st.text(), "b": st.text(min_size=1)}), min_size=1, max_size=5
    ),
    st.sampled_from([",", "\t"]),
)
def test_a_table_written_by_the_csv_module_is_read_back(tmp_path_factory, rows, delimiter):
    folder = tmp_path_factory.getbasetemp()
    path = folder / ("table.csv" if delimiter == "," else "table.tsv")
    path.write_bytes(as_csv(rows, delimiter))
    assert [row for _, row in read_file(path)] == rows
