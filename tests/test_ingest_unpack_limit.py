"""Files that would unpack or grow to a lot: each stops at a limit, which the message names.

The limits are small here; tests/test_ingest_damage.py has bombs of hundreds of megabytes.
"""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.ingest import unpack_limit
from tasks.ingest.parse_turns import MAX_PYTHON_CHARS, parse_text
from tasks.ingest.step import work
from tasks.ingest.unpack_limit import MAX_DEPTH, SAMPLE_BYTES, take_sample, weigh
from tasks.lib.core import tables
from tasks.lib.core.errors import DataError
from tasks.lib.core.schemas import INGEST_DROPPED, POOL
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import TableWriter, read_table
from tests.ingest_rows import LIMITS, SECTION, as_parquet, as_zip
from tests.workspaces import StepWorkspace

ROW_CHARS, COLUMNS = 1000, 20
SMALL = {"max_row_chars": ROW_CHARS, "max_columns": COLUMNS, "max_dropped": 1.0}


@pytest.fixture
def ingest(tmp_path, monkeypatch):
    """Return a function that reads a file with small limits; it returns what was dropped, why."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(unpack_limit, "RATIO_FROM_BYTES", 20_000)
    space = StepWorkspace(tmp_path)
    (tmp_path / SECTION["exclude_file"]).touch()

    def read(name, content, key="ingest.source", **changes):
        (tmp_path / name).write_bytes(content)
        (tmp_path / "pool.jsonl").write_bytes(jsonl({"instruction": "Say a word."}))
        section, _, setting = key.partition(".")
        space.update(ingest=SECTION | SMALL | changes)
        space.update(**{section: {setting: name}})
        Stage("ingest", tmp_path).run(work)
        dropped = read_table(tmp_path / "data/ingest/dropped.parquet", INGEST_DROPPED)
        return [(row["reason"], row["detail"]) for row in dropped.to_pylist()]

    return read


def jsonl(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(**columns):
    return as_parquet(pa.table(columns), compression="zstd")


def archive(n_members, content):
    return as_zip({f"{number}.jsonl": content for number in range(n_members)})


ROWS = jsonl({"instruction": "Say a word."})
CHAT = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
UNPACKED = {
    "rows of a gzip file": ("a.jsonl.gz", gzip.compress(ROWS * 1000)),
    "empty rows": ("a.jsonl.gz", gzip.compress(b"{}\n" * 5000)),
    "blank lines": ("a.txt.gz", gzip.compress(b"a\n" + b"\n" * 5000)),
    "blanks": ("a.json.gz", gzip.compress(b"[" + b" " * 50_000 + b"1]")),
    "skipped values": ("a.json.gz", gzip.compress(b'{"a": [' + b"1," * 999 + b'1], "b": [{}]}')),
    "members of an archive together": ("a.zip", archive(20, jsonl({"prompt": "a" * 900}) * 4)),
    "a long list of members": ("a.zip", archive(16, ROWS)),
    "a table in an archive": ("a.parquet.gz", gzip.compress(parquet(a=["x" * 900] * 999))),
    "a column that nobody asked for": ("a.parquet", parquet(prompt=["a"], n=[[0] * 60_000])),
    "equal values of a table": ("a.parquet", parquet(prompt=["a"], n=[[0] * 2000])),
    "equal rows of a table": ("a.parquet", parquet(prompt=["a"] * 5000)),
}


@pytest.mark.parametrize("key", ["ingest.source", "ingest.decontaminate", "ingest.exclude_file"])
@pytest.mark.parametrize("kind", UNPACKED)
def test_a_source_that_unpacks_to_too_much_is_stopped(ingest, kind, key):
    with pytest.raises(DataError, match=r"unpack to more than 20,000, .* ingest\.max_unpack_ratio"):
        ingest(*UNPACKED[kind], key, max_unpack_ratio=1)


def test_a_folder_of_bombs_has_one_limit(ingest, tmp_path):
    (tmp_path / "shards").mkdir()
    for number in range(20):
        (tmp_path / f"shards/{number}.jsonl.gz").write_bytes(gzip.compress(ROWS * 2 + b" " * 1500))
    with pytest.raises(DataError, match="unpack to more than 20,000"):
        ingest("a.jsonl", ROWS, "ingest.decontaminate", source="shards", max_unpack_ratio=1)


def test_the_branches_of_a_tree_count_all_of_their_turns(ingest):
    cells = ("message_id", "parent_id", "role", "text")
    trunk = [(n, n - 1 or None, ("assistant", "user")[n % 2], "a") for n in range(1, 12)]
    leaves = [(100 + n, 10, "user", f"{n}") for n in range(9)]
    rows = [dict(zip(cells, map(str, row), strict=True)) for row in [*trunk, *leaves]]
    with pytest.raises(DataError, match="unpack to more than 20,000"):
        ingest("a.jsonl", jsonl(*rows), max_unpack_ratio=1, max_row_chars=9000)


@pytest.mark.parametrize(
    ("row", "changes"),
    [
        ({"messages": CHAT * 20}, {"turn": "all"}),
        ({"instruction": "a", "instances": [{"input": f"{n}"} for n in range(40)]}, {}),
    ],
)
def test_a_row_that_becomes_many_records_counts_as_all_of_them(ingest, row, changes):
    grown = {"system": "s" * 500, **row, "more": "m" * 200} | {"instructions": "s" * 500}
    with pytest.raises(DataError, match="unpack to more than 20,000"):
        ingest("a.jsonl", jsonl(grown), max_unpack_ratio=1, max_row_chars=9000, **changes)


LONG = "x" * 2 * ROW_CHARS
WIDE = {f"c{number}": "1" for number in range(COLUMNS)}
TOO_LONG = (
    "too_long",
    "the row has more than 1,000 characters, the limit set by ingest.max_row_chars",
)
TOO_WIDE = ("too_long", "the row has 21 columns, but ingest.max_columns allows 20")


@pytest.mark.parametrize(
    ("name", "content", "dropped"),
    [
        ("a.jsonl", jsonl({"prompt": "a", "junk": LONG}, {"prompt": "b"}), [TOO_LONG]),
        ("a.json", json.dumps([{"prompt": "a", "n": LONG}, {"prompt": "b"}]).encode(), [TOO_LONG]),
        ("a.txt", f"{LONG}\nb\n".encode(), [TOO_LONG]),
        ("a.parquet", parquet(prompt=["a", "b"], junk=[LONG, ""]), [TOO_LONG]),
        ("a.parquet", parquet(prompt=["a", "b"], n=[[0] * 300, []]), [TOO_LONG]),
        ("a.jsonl", jsonl({"prompt": "a"} | WIDE, {"prompt": "b"}), [TOO_WIDE]),
        ("a.json", json.dumps([{"prompt": "a"} | WIDE, {"prompt": "b"}]).encode(), [TOO_WIDE]),
    ],
)
def test_a_row_above_a_limit_is_dropped_and_the_others_are_kept(ingest, name, content, dropped):
    assert ingest(name, content) == dropped


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", json.dumps([{"prompt": LONG * 600}]).encode(), "a value has more than 1,000"),
        ("a.csv", f"prompt,junk\na,{LONG}\n".encode(), "a.csv:2: the row has more than 1,000"),
        ("a.csv", b'prompt,junk\na,"' + b"x\n" * 600 + b'"\n', "the row has more than 1,000"),
        ("a.csv", ",".join(["prompt", *WIDE]).encode() + b"\n", "21 columns exceed 20"),
        ("a.parquet", parquet(prompt=["a"], **{name: ["1"] for name in WIDE}), "21 columns exceed"),
    ],
)
def test_a_file_in_which_the_next_row_cannot_be_found_is_refused(ingest, name, content, words):
    with pytest.raises(DataError, match=words) as caught:
        ingest(name, content)
    assert "-S ingest.max_" in caught.value.fix


def test_columns_are_found_in_a_sample_of_limited_size():
    long, deep = {"prompt": "x" * (SAMPLE_BYTES // 3)}, {"prompt": "a", "deep": []}
    for _ in range(MAX_DEPTH):
        deep["deep"] = [deep["deep"]]
    numbered, rows = take_sample(iter([(1, deep), *((n, long) for n in range(2, 99))]), 50, LIMITS)
    assert len(numbered) == 4
    assert rows == [long] * 3
    few = LIMITS._replace(max_columns=10)
    wide = iter((n, {f"{n}_{i}": 1 for i in range(4)}) for n in range(99))
    assert len(take_sample(wide, 50, few).rows) == 3


def test_the_weight_of_a_value_counts_everything_in_it():
    assert weigh("abc") == (64 + 3, 1)
    assert weigh({"a": [1, [2]]}) == (6 * 64 + 1, 4)


def test_a_deep_row_is_dropped_wherever_it_is_nested(ingest):
    deep = "[" * 900 + "]" * 900
    rows = [
        '{"prompt": "a"}',
        f'{{"prompt": "b", "messages": {deep}}}',
        f'{{"prompt": {deep}}}',
        f'{{"prompt": {"[" * 1100}{"]" * 1100}}}',
    ]
    dropped = ingest("a.jsonl", "\n".join(rows).encode(), max_row_chars=9000)
    assert [reason for reason, _ in dropped] == ["not_text", "not_json"]


def test_only_short_texts_are_tried_as_python():
    assert parse_text("['a']") == ["a"]
    assert parse_text("['" + "a" * MAX_PYTHON_CHARS + "']") is None


def test_a_table_of_long_texts_is_written_in_several_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "GROUP_CHARS", 100)
    row = dict.fromkeys(POOL.names, "a" * 30)
    with TableWriter(tmp_path / "a.parquet", POOL) as table:
        for _ in range(5):
            table.append(row)
    assert pq.read_metadata(tmp_path / "a.parquet").num_row_groups == 5
    assert read_table(tmp_path / "a.parquet", POOL).num_rows == 5
