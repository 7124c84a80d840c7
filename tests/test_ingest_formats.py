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
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.errors import DataError
from tests.ingest_rows import TEXT, as_parquet, drops, read_file, reasons


def as_csv(rows, delimiter=","):
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


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
def test_every_format_gives_the_same_rows_compressed_or_not(read_as, suffix, packed):
    rows = read_as(f"pool{suffix.upper()}{packed}", COMPRESS[packed](CONTENTS[suffix]))
    assert [row for _, row in rows] == [TEXT, TEXT]


@pytest.mark.slow
@pytest.mark.parametrize("packed", [suffix for suffix in COMPRESS if suffix])
def test_a_compressed_file_that_is_damaged_or_misnamed_is_refused(read_as, packed):
    content = COMPRESS[packed](CONTENTS[".jsonl"] * 20_000)
    with pytest.raises(DataError, match=r"damaged or cut off after line [1-9]"):
        read_as(f"a.jsonl{packed}", content[:-9])
    with pytest.raises(DataError, match="damaged or cut off after line 0"):
        read_as(f"a.jsonl{packed}", content[:9] + b"surely no compressed data")
    with pytest.raises(DataError, match=f"Rename the file to end with {packed}"):
        read_as("a.jsonl", content)
    with pytest.raises(DataError, match=rf"content is not \w+, but the name ends with {packed}"):
        read_as(f"a.jsonl{packed}", CONTENTS[".jsonl"])


def test_a_csv_row_has_the_number_of_its_first_line(read_as):
    rows = read_as("a.csv", '\ufeffa,b\r\n\r\n"x\ny\nz",1\r\nu,2\r\n')
    assert rows == [(3, {"a": "x\ny\nz", "b": "1"}), (6, {"a": "u", "b": "2"})]


def test_faulty_csv_rows_are_dropped_with_their_reason(read_as):
    rows = read_as("a.csv", b'a,b\n1\n1,2,3\n"x" y,2\ncaf\xe9,2\n5" nail,2\n')
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
def test_csv_may_have_nameless_columns_semicolons_and_long_cells(read_as, content, row):
    assert read_as("a.csv", content) == [(2, row)]


def test_an_unclosed_csv_quote_is_refused_with_its_line(read_as):
    with pytest.raises(DataError, match="never closed") as caught:
        read_as("a.csv", 'a,b\n1,2\n3,"four\n5,6\n')
    assert caught.value.where.endswith("a.csv:3")


@pytest.mark.parametrize(
    ("header", "message"), [(b"a,b,a", "two columns are named 'a'"), (b"a,\xe9\nb\nc", "header")]
)
def test_an_unreadable_csv_header_or_a_duplicate_name_is_refused(read_as, header, message):
    with pytest.raises(DataError, match=message):
        read_as("a.csv", header + b"\n1,2,3\n1,2,3\n")


def test_a_parquet_text_that_is_not_utf8_drops_only_its_row(read_as):
    offsets = pa.array([0, 1, 2, 3], pa.int32()).buffers()[1]
    texts = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"a\xffb"))
    rows = read_as("a.parquet", as_parquet(pa.table({"a": texts})))
    assert rows == [(1, {"a": "a"}), (2, {"a": "\udcff"}), (3, {"a": "b"})]
    assert reasons([row for _, row in rows], columns={"instruction": "a"}) == [
        None,
        IngestDrop.BAD_ENCODING,
        None,
    ]


@pytest.mark.parametrize("cut", [3, 100, -6])
def test_a_damaged_parquet_file_is_refused(read_as, cut):
    with pytest.raises(DataError, match="not readable as Parquet"):
        read_as("a.parquet", CONTENTS[".parquet"][:cut])


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
def test_a_file_that_is_not_what_its_name_says_is_refused(read_as, name, content, message):
    with pytest.raises(DataError, match=message):
        read_as(name, content)


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
