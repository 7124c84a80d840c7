"""Damaged files and bombs: rows are kept, dropped with a reason, or refused with a clear error."""

import bz2
import gzip
import io
import json
import lzma
import random
import subprocess
import sys
import zipfile
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import PROJECT
from tests.ingest_rows import as_parquet

MAX_MB = 1000
MAX_S = 120  # for one file, on a busy machine
N_CUTS = N_EDITS = 20
ROWS = [
    {"instruction": f'Say "hé" {n} times.', "input": "a\nb, c\td", "output": str(n)}
    for n in range(60)
]


def as_csv(delimiter):
    lines = [delimiter.join(["instruction", "input", "output"])]
    for row in ROWS:
        cells = ('"{}"'.format(row[name].replace('"', '""')) for name in lines[0].split(delimiter))
        lines.append(delimiter.join(cells))
    return "\n".join(lines).encode()


def as_zip(name, content):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name), content)
    return packed.getvalue()


TABLE = pa.Table.from_pylist(ROWS)
JSONL = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
FILES = {
    "a.jsonl": JSONL,
    "a.json": json.dumps(ROWS, indent=1).encode(),
    "b.json": json.dumps({"data": ROWS}, indent=1).encode(),
    "sequence.jsonl": "\n".join(json.dumps(row, indent=1) for row in ROWS).encode(),
    "a.csv": as_csv(","),
    "a.tsv": as_csv("\t"),
    "a.txt": "\n".join(row["instruction"] for row in ROWS).encode(),
    "a.parquet": as_parquet(TABLE),
    "zstd.parquet": as_parquet(TABLE, compression="zstd"),
    "a.jsonl.gz": gzip.compress(JSONL, mtime=0),
    "a.jsonl.bz2": bz2.compress(JSONL),
    "a.jsonl.xz": lzma.compress(JSONL),
    "a.jsonl.zst": pa.compress(JSONL, codec="zstd", asbytes=True),
    "a.parquet.gz": gzip.compress(as_parquet(TABLE), mtime=0),
    "a.zip": as_zip("a.jsonl", JSONL),
}


def damaged(content, seed):
    """Yield the content cut at random bytes, then with random bytes changed."""
    rng = random.Random(seed)
    for _ in range(N_CUTS):
        yield content[: rng.randrange(len(content))]
    for _ in range(N_EDITS):
        edited = bytearray(content)
        for _ in range(20):
            edited[rng.randrange(len(edited))] = rng.randrange(256)
        yield bytes(edited)
    for _ in range(N_EDITS):
        edited = bytearray(content)
        edited[rng.randrange(len(edited))] ^= 1 << rng.randrange(8)
        yield bytes(edited)


def outcomes(paths):
    """Read files in a process with limited memory; check its output and return it."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bad_file", *map(str, paths)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=MAX_S * len(paths),
        check=False,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(paths), f"{paths[len(found)]}: {done.returncode}\n{done.stderr}"
    for facts in found:
        assert facts["peak_mb"] < MAX_MB, facts
        assert facts["seconds"] < MAX_S, facts
        assert facts.get("rows") == facts.get("classified"), facts
        if "error" in facts:
            assert "\n  " in facts["error"], facts
            assert len(facts["error"]) < 3000, facts
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_file_damaged_anywhere_is_read_in_part_or_refused(tmp_path, name):
    paths = []
    for number, content in enumerate(damaged(FILES[name], seed=name)):
        path = tmp_path / str(number) / name
        path.parent.mkdir()
        path.write_bytes(content)
        paths.append(path)
    found = outcomes(paths)
    assert any("error" in facts for facts in found) or name.endswith((".jsonl", ".txt", "sv"))


class _Zeros(io.RawIOBase):
    """A stream of some first bytes, then one byte repeated."""

    def __init__(self, first, byte, n_bytes):
        self._first, self._byte, self._left = first, byte, n_bytes

    def readable(self):
        return True

    def readinto(self, buffer):
        data = self._first or self._byte * min(len(buffer), self._left)
        data = data[: len(buffer)]
        if self._first:
            self._first = self._first[len(data) :]
        else:
            self._left -= len(data)
        buffer[: len(data)] = data
        return len(data)


class _KeptOpen(io.BytesIO):
    """Keeps its content when a library closes it."""

    def close(self):
        pass


def pack(opener, first, byte, n_bytes):
    packed = _KeptOpen()
    stream = _Zeros(first, byte, n_bytes)
    with opener(packed) as file:
        while chunk := stream.read(1 << 20):
            file.write(chunk)
    return packed.getvalue()


def zip_member(packed):
    archive = zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED)

    class Member:
        def __enter__(self):
            self.file = archive.open("a.jsonl", "w", force_zip64=True)
            return self.file

        def __exit__(self, *_):
            self.file.close()
            archive.close()

    return Member()


PACKERS = {
    "a.jsonl.gz": partial(gzip.open, mode="wb", compresslevel=6),
    "a.jsonl.bz2": partial(bz2.open, mode="wb"),
    "a.jsonl.xz": partial(lzma.open, mode="wb", preset=0),
    "a.jsonl.zst": lambda packed: pa.CompressedOutputStream(packed, "zstd"),
    "a.zip": zip_member,
}
BOMB_BYTES = 270_000_000  # above the size from which the ratio counts


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKERS)
def test_a_bomb_of_each_compression_is_stopped(tmp_path, name):
    (tmp_path / name).write_bytes(pack(PACKERS[name], b'{"instruction": "', b"a", BOMB_BYTES))
    (facts,) = outcomes([tmp_path / name])
    assert "the limit set by ingest.max_unpack_ratio" in facts["error"]
    assert "-S ingest.max_unpack_ratio=NUMBER" in facts["error"]


@pytest.mark.slow
def test_a_bomb_of_many_rows_in_other_formats_is_stopped(tmp_path):
    names = ["a.csv.gz", "a.json.gz", "a.txt.gz", "a.tsv.gz"]
    firsts = [b"instruction\n", b"[", b"", b"instruction\ta\n"]
    for name, first in zip(names, firsts, strict=True):
        content = pack(PACKERS["a.jsonl.gz"], first, b"[" if "json" in name else b"a", BOMB_BYTES)
        (tmp_path / name).write_bytes(content)
    for facts in outcomes([tmp_path / name for name in names]):
        assert "error" in facts or facts["rows"], facts


def long_text_in_a_dictionary():
    text = pa.array(["x" * 4_000_000, "y"])
    indices = pa.array([0, 1] * 10_000, pa.int32())
    column = pa.DictionaryArray.from_arrays(indices, text)
    return pa.table({"instruction": column}), {"compression": "zstd"}


def long_text_in_each_list():
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 900, pa.int32()), ["x" * 1_000_000])
    lists = pa.ListArray.from_arrays(pa.array(range(0, 901, 30), pa.int32()), text)
    return pa.table({"messages": lists}), {"compression": "zstd"}


def many_equal_rows():
    return pa.table({"instruction": pa.repeat(pa.scalar("x"), 20_000_000)}), {}


def one_long_text():
    return pa.table({"instruction": ["z" * 300_000_000]}), {"compression": "zstd"}


def long_lists():
    zeros = pa.repeat(pa.scalar(0), 60_000_000)
    lists = pa.ListArray.from_arrays(pa.array(range(0, 60_000_001, 3_000_000), pa.int32()), zeros)
    return pa.table({"instruction": ["a"] * 20, "n": lists}), {"compression": "zstd"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        *(long_text_in_a_dictionary, long_text_in_each_list),
        *(many_equal_rows, one_long_text, long_lists),
    ],
)
def test_a_parquet_bomb_is_stopped_or_read_in_little_memory(tmp_path, make):
    table, options = make()
    pq.write_table(table, tmp_path / "a.parquet", **options)
    (facts,) = outcomes([tmp_path / "a.parquet"])
    assert "ingest.max_unpack_ratio" in facts.get("error", "") or facts["rows"]


@pytest.mark.slow
@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":['])
def test_deep_and_wide_nesting_stays_within_the_memory_limit(tmp_path, opening):
    deep, wide = tmp_path / "deep.json", tmp_path / "wide.json"
    deep.write_text(opening * 1_000_000)
    wide.write_text('[{"instruction": "a", "n": [' + "[]," * 2_000_000 + "0]}]")
    outcomes([deep, wide])
