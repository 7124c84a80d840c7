"""Sources of several files: folders, archives and data sets; each row is named by file and line."""

import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.ingest.readers import READERS
from tasks.ingest.source_files import list_files
from tasks.ingest.step import check, work
from tasks.ingest.unpack import COMPRESSIONS
from tasks.lib.core.errors import CurationError, DataError, ParamError
from tasks.lib.core.schemas import INGEST_DROPPED, POOL
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table
from tasks.lib.data_file_names import FORMATS, PACKED
from tests.ingest_rows import SECTION, as_zip, line, read_file
from tests.workspaces import StepWorkspace


@pytest.fixture
def pool(tmp_path, monkeypatch):
    """Return a function that writes files and reads them as one pool; it returns both tables."""
    monkeypatch.chdir(tmp_path)
    space = StepWorkspace(tmp_path)
    (tmp_path / SECTION["exclude_file"]).touch()

    def read(contents, source="shards", **changes):
        for name, content in contents.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        space.update(ingest=SECTION | {"source": source, "max_dropped": 0.5} | changes)
        stage = Stage("ingest", tmp_path)
        check(stage.values)
        stage.run(work)
        folder = tmp_path / "data/ingest"
        kept = read_table(folder / "pool.parquet", POOL).to_pylist()
        return (
            [(row["source"], row["instruction"]) for row in kept],
            read_table(folder / "dropped.parquet", INGEST_DROPPED).to_pylist(),
        )

    return read


def test_every_format_has_a_reader_and_every_compression_an_unpacker():
    assert tuple(READERS) == FORMATS
    assert tuple(COMPRESSIONS) == PACKED


def test_a_folder_of_shards_is_read_by_name_and_each_row_is_named_by_file_and_line(pool):
    table = pa.table({"instruction": ["D", "A"]})
    parquet = io.BytesIO()
    pq.write_table(table, parquet)
    files = {
        "shards/deep/b.jsonl.gz": gzip.compress((line("C") + "{oops\n").encode()),
        "shards/a.jsonl": line("A") + "\n" + line("B"),
        "shards/deep/c.parquet": parquet.getvalue(),
        "shards/README.md": "# no data",
        "shards/_SUCCESS": "",
        "shards/.hidden.jsonl": "{oops",
        "shards/LICENSE.txt": "no data",
    }
    kept, dropped = pool(files)
    assert kept == [
        ("a.jsonl:1", "A"),
        ("a.jsonl:3", "B"),
        ("deep/b.jsonl.gz:1", "C"),
        ("deep/c.parquet:1", "D"),
    ]
    assert [(row["file"], row["line"], row["reason"]) for row in dropped] == [
        ("deep/b.jsonl.gz", 2, "not_json"),
        ("deep/c.parquet", 2, "repeated"),
    ]
    assert dropped[1]["detail"] == "the same as a.jsonl:1"


def test_files_are_read_in_the_order_of_the_patterns(pool):
    files = {f"shards/{name}": line(name) for name in ("a.jsonl", "b.jsonl", "c.jsonl")}
    kept, _ = pool(files, files=["c*", "a.jsonl"])
    assert [text for _, text in kept] == ["c.jsonl", "a.jsonl"]
    with pytest.raises(
        DataError, match=r"found no data files; the source contains a\.jsonl, b\.jsonl"
    ) as caught:
        pool({}, files="*.csv")
    assert "ingest.files" in caught.value.fix


def test_files_that_are_not_read_are_logged(pool, caplog):
    caplog.set_level("INFO", "selectllm")
    pool({"shards/a.jsonl": line("A"), "shards/b.docx": "x"})
    assert "not read: b.docx" in caplog.text


def test_plain_text_has_one_instruction_per_line(pool):
    kept, _ = pool({"pool.txt": "\ufeffSay hi.\r\n\r\nSay bye, please.\n"}, "pool.txt")
    assert kept == [("pool.txt:1", "Say hi."), ("pool.txt:3", "Say bye, please.")]


def test_a_zip_archive_is_read_like_a_folder(pool):
    one = as_zip({"__MACOSX/._a.jsonl": b"x", "a.jsonl": line("A")})
    kept, _ = pool({"one.zip": one}, "one.zip")
    assert kept == [("one.zip/a.jsonl:1", "A")]
    two = as_zip({"b/x.csv.gz": gzip.compress(b"instruction\nX\n"), "a.jsonl": line("A")})
    kept, _ = pool({"two.zip": two}, "two.zip")
    assert kept == [("two.zip/a.jsonl:1", "A"), ("two.zip/b/x.csv.gz:2", "X")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04 no archive", "not readable as a ZIP"),
        (as_zip({"a.docx": b"x"}), "found no data files; the source contains a.docx"),
        (as_zip({"a.jsonl": line("A") * 99})[:-9], "not readable as a ZIP"),
    ],
)
def test_a_zip_archive_that_cannot_be_used_is_refused(pool, content, message):
    with pytest.raises(DataError, match=message):
        pool({"a.zip": content}, "a.zip")


def test_a_zip_archive_in_a_folder_is_refused_with_a_fix(pool):
    with pytest.raises(DataError, match="one of several files") as caught:
        pool({"shards/a.zip": as_zip({"a.jsonl": line("A")})}, files="*")
    assert "Unpack it" in caught.value.fix


def test_a_folder_in_the_layout_of_the_hub_gives_one_split(pool):
    files = {
        "hub/README.md": "---\nconfigs: []\n---\n",
        "hub/data/train-00000-of-00002.jsonl": line("A"),
        "hub/data/train-00001-of-00002.jsonl": line("B"),
        "hub/data/test-00000-of-00001.jsonl": line("T"),
        "hub/dataset_infos.json": "{}",
    }
    with pytest.raises(DataError, match=r"several splits.*: test .*, train ") as caught:
        pool(files, "hub")
    assert "-S 'ingest.files=*train*'" in caught.value.fix
    kept, _ = pool({}, "hub", files="*train*")
    assert [text for _, text in kept] == ["A", "B"]
    kept, _ = pool({}, "hub", files="*")
    assert [text for _, text in kept] == ["T", "A", "B"]


def test_files_of_different_layouts_are_listed_one_by_one(pool):
    files = {
        "shards/a.jsonl": line("A"),
        "shards/b.csv": "prompt,response\nB,x\n",
        "shards/c.jsonl": '{"unknown": 1}\n',
    }
    with pytest.raises(DataError, match="differ in their columns") as caught:
        pool(files)
    assert "\n  a.jsonl: instruction in instruction\n" in str(caught.value)
    assert "\n  b.csv: instruction in prompt, output in response\n" in str(caught.value)
    assert "\n  c.jsonl: found no column with instructions" in str(caught.value)
    with pytest.raises(CurationError, match="differ in their columns"):
        pool({}, columns={"instruction": "prompt"})


def test_a_column_may_be_missing_from_some_files(pool):
    row = json.dumps({"instruction": "B", "input": "x"})
    kept, _ = pool({"shards/a.jsonl": line("A"), "shards/b.jsonl": row})
    assert len(kept) == 2


def test_a_damaged_shard_is_named(pool):
    files = {"shards/a.jsonl": line("A"), "shards/b.jsonl.gz": gzip.compress(b"x" * 999)[:-9]}
    with pytest.raises(DataError, match=r"b\.jsonl\.gz: the file is damaged"):
        pool(files)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):

    path = tmp_path / "a.jsonl"
    path.write_text(line("A") * 9)
    rows = read_file(path)
    next(rows)
    path.write_text(line("B") * 9)
    with pytest.raises(DataError, match="changed while it was being read"):
        list(rows)


@pytest.mark.parametrize("source", ["hf://datasets/a/b", "s3://a/b.jsonl", "sql:SELECT 1"])
def test_a_source_that_must_be_copied_first_is_refused_with_a_fix(pool, source):
    with pytest.raises(ParamError, match="reads only local files") as caught:
        pool({}, source)
    assert "-S ingest.source=" in caught.value.fix


def test_a_folder_with_outputs_of_stages_is_refused(pool):
    with pytest.raises(ParamError, match="the output of a stage") as caught:
        pool({"data/a.jsonl": line("A")}, "data")
    assert "to a folder of its own" in caught.value.fix


def test_a_folder_without_files_is_refused(tmp_path):
    with pytest.raises(DataError, match="found no data files; the source contains nothing"):
        list_files(tmp_path, None)
