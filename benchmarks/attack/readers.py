"""B: input that explodes, or that is damaged, in every reader."""

import bz2
import gzip
import io
import lzma
import random
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.attack import trial, values
from benchmarks.attack.trial import Finding, broken
from tasks.lib.core.schemas import INGEST_DROPPED, POOL
from tasks.lib.core.tables import read_table
from tests.workspaces import StepWorkspace

MAX_DISK = 400_000_000  # bytes that a step may leave or hold: 256 MB unpacked, and what it writes
KEYS = {"ingest.source": 10, "ingest.decontaminate": 2, "ingest.exclude_file": 2}
KEYS |= {"choose.annotated": 2, "choose.targets": 2}
ENCODINGS = (
    "utf-8",
    "utf-8-sig",
    "utf-16",
    "utf-16-le",
    "utf-32",
    "latin-1",
    "cp1252",
    "shift_jis",
)


def attack(rng: random.Random, root: Path, patience: float) -> tuple[str, list[Finding]]:
    """Let ingest read a hostile file; check limits, conservation and the message."""
    space = StepWorkspace(root)
    made: list[str] = []
    name, content = _file(rng, made)
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    (root / "sound.jsonl").write_text('{"instruction": "Say a word."}\n' * 3)
    key = rng.choices([*KEYS], [*KEYS.values()])[0]
    space.update(ingest={"source": "sound.jsonl", "max_dropped": rng.choice((0.05, 1.0))})
    section, _, setting = key.partition(".")
    given = path.parent if rng.random() < 0.1 and path.parent != root else path
    space.update(**{section: {setting: str(given.relative_to(root))}})
    scratch = root / "tmp"
    scratch.mkdir()
    ran = trial.run(
        "tasks.ingest", cwd=root, env={"TMPDIR": str(scratch), "DVC_ROOT": trial.UNSET},
        patience=patience,
    )  # fmt: skip
    found = list(trial.ending(ran))
    found += _outputs(root) if ran.status == 0 else []
    left = sum(p.stat().st_size for p in root.rglob("*") if p.is_file() and p != path)
    if left > MAX_DISK:
        found.append(broken(f"{left:,} bytes on disk"))
    return f"{key}={name} {' '.join(made)} ({len(content):,} bytes)", found


def _outputs(root: Path) -> list[Finding]:
    """Return what is wrong with the outputs of an ingest that says it is done."""
    pool = root / "data/ingest/pool.parquet"
    n_rows = int((pq.read_metadata(pool).metadata or {}).get(b"n_rows", b"-1"))
    n_kept, n_dropped = (
        pq.read_metadata(root / f"data/ingest/{name}.parquet").num_rows
        for name in ("pool", "dropped")
    )
    found = []
    if n_kept + n_dropped < n_rows:
        found.append(broken(f"{n_rows} rows, but {n_kept} kept and {n_dropped} dropped"))
    if n_kept < 10_000:
        for row in read_table(pool, POOL).to_pylist():
            if not row["instruction"].strip() or "\x00" in row["instruction"]:
                found.append(broken(f"a record without a text: {row['source']}"))
                break
        read_table(root / "data/ingest/dropped.parquet", INGEST_DROPPED)
    return found


def _file(rng: random.Random, made: list[str]) -> tuple[str, bytes]:
    """Return a name and content; append words about how it was made."""
    kind = rng.choice([*FORMATS])
    suffix, content = FORMATS[kind](rng)
    made.append(kind)
    if rng.random() < 0.35:
        made.append("damaged")
        content = _damaged(rng, content)
    while rng.random() < 0.4 and len(made) < 4:
        packer = rng.choice([*PACKERS])
        made.append(packer)
        suffix, content = PACKERS[packer](rng, suffix, content)
    if rng.random() < 0.1:
        made.append("wrong suffix")
        suffix = rng.choice((".jsonl", ".json", ".csv", ".parquet", ".gz", ".zip", ".txt", ""))
    folder = rng.choice(("", "", "shards/", "a b/"))
    stem = re.sub(r"[/\x00\ud800]", "_", values.text(rng, 3))[:40] if rng.random() < 0.2 else "a"
    return f"{folder}{stem}{suffix}", content


NAMES = (
    *("instruction", "instruction", "input", "output", "prompt", "question", "messages", "system"),
    *(
        "conversations",
        "conversation",
        "turns",
        "chosen",
        "rejected",
        "instances",
        "history",
        "text",
    ),
    *(
        "role",
        "from",
        "content",
        "value",
        "message_id",
        "parent_id",
        "thread_id",
        "turn_id",
        "rank",
    ),
    *("mapping", "prompt_id", "replies", "tools", "id", "data", "reply_to", "conversation_id"),
)
ROLES = ("user", "assistant", "system", "tool", "human", "gpt", 5, None)


def _cell(rng: random.Random, depth: int = 3) -> Any:
    """Return a cell: mostly a text, or something like a conversation, a tree or a list."""
    kind = rng.randrange(9)
    if kind < 4 or not depth:
        return values.text(rng, 12)
    if kind == 4:
        return values.value(rng)
    if kind == 5:
        return rng.randrange(4)
    if kind == 6:
        return [_cell(rng, depth - 1) for _ in range(rng.randrange(4))]
    if kind == 7:
        turn = {"role": rng.choice(ROLES), "content": _cell(rng, depth - 1)}
        return [turn | {"role": rng.choice(ROLES)} for _ in range(rng.randint(1, 4))]
    return {rng.choice(NAMES): _cell(rng, depth - 1) for _ in range(rng.randint(1, 4))}


def _rows(rng: random.Random) -> list[dict[str, Any]]:
    """Return rows with nearly the same columns, and cells that are mostly of one kind in each."""
    names, seeds = rng.sample(NAMES, rng.randint(1, 5)), [rng.random() for _ in range(3)]
    rows = []
    for _ in range(rng.choice((1, 5, 60))):
        chances = random.Random(rng.choice(seeds)) if rng.random() < 0.7 else rng
        row = {name: _cell(chances) for name in names}
        if rng.random() < 0.1:
            row[rng.choice((*NAMES, values.text(rng, 2)))] = _cell(rng)
        rows.append(row)
    return rows


def _jsonl(rng: random.Random) -> tuple[str, bytes]:
    end = rng.choice((b"\n", b"\n", b"\r\n", b"\r", b"\n\n\n", b"\x00\n"))
    return ".jsonl", end.join(values.dumps(row) for row in _rows(rng)) + rng.choice((end, b""))


def _json(rng: random.Random) -> tuple[str, bytes]:
    rows = _rows(rng)
    tree = rng.choice((rows, {"data": rows}, {"train": rows, "test": rows}, {"a": {"b": rows}}))
    return ".json", values.dumps(tree)


def _encoded(rng: random.Random) -> tuple[str, bytes]:
    suffix, content = rng.choice((_jsonl, _csv))(rng)
    name = rng.choice(ENCODINGS)
    return suffix, content.decode(errors="replace").encode(name, errors="replace")


def _csv(rng: random.Random) -> tuple[str, bytes]:
    mark, quote = rng.choice(",;\t|"), rng.choice(('"', '"', "'", ""))
    names = ["instruction", "input", "output", *(values.text(rng, 1) for _ in range(2))]
    lines = [mark.join(names)]
    for row in _rows(rng):
        cells = [str(row.get(name, values.text(rng, 4))) for name in names]
        lines.append(mark.join(f"{quote}{cell}{quote}" for cell in cells[: rng.choice((5, 5, 4))]))
    return rng.choice((".csv", ".tsv")), "\n".join(lines).encode(errors="replace")


def _long_csv(rng: random.Random) -> tuple[str, bytes]:
    """Return a table with a long header, a quote that never closes, or very many cells."""
    n = rng.choice((10**4, 10**5, 10**6))
    return ".csv", rng.choice((
        lambda: b"instruction," + b",".join(b"c%d" % i for i in range(n)) + b"\na\n",
        lambda: b"instruction" + b"," * n + b"\na" + b"," * n + b"\n",
        lambda: b'instruction,x\n"' + b"a\n" * n, lambda: b'instruction\n' + b'"' * n,
        lambda: b'instruction\n' + b'"a""' * n, lambda: b"a" * n * 4, lambda: b"\n" * n * 4,
        lambda: b"instruction\n" + b"a,\n" * n, lambda: b"\xef\xbb\xbf" * n, lambda: b"\x00" * n * 4,
    ))()  # fmt: skip


def _long_json(rng: random.Random) -> tuple[str, bytes]:
    n = rng.choice((10**5, 10**6))
    suffix = rng.choice((".json", ".jsonl"))
    return suffix, rng.choice((
        lambda: b"[" * n, lambda: b'{"a":' * n, lambda: b'[{"instruction": "' + b"a" * n * 4,
        lambda: b'{"instruction": "a", "n": ' + b"9" * n + b"}\n",
        lambda: b'{"instruction": "a", "n": 1e' + b"9" * n + b"}\n",
        lambda: b'{"instruction": "' + b"\\ud800" * n + b'"}\n',
        lambda: b'{"instruction": "a", "n": [' + b"[]," * n + b"[]]}",
        lambda: b"[" + b'{"instruction": "a"},' * n + b'{"instruction": "b"}]',
        lambda: b'{"instruction": "a"}' * n, lambda: b" " * n * 5 + b"1", lambda: b"{}\n" * n,
        lambda: b'{"instruction": "a"' + b', "instruction": "b"' * n + b"}",
        lambda: b"{" + b",".join(b'"c%d": 1' % i for i in range(n // 4)) + b"}",
        lambda: b"null\n" * n, lambda: b"1\n" * n, lambda: b'"a"\n' * n, lambda: b"[1]\n" * n,
        lambda: b'{"messages": [' + b'{"role": "user", "content": "a"},' * n + b"{}]}",
        lambda: b'{"instruction": "' + b"\\\\" * n + b'"}', lambda: b"\\" * n, lambda: b'"' * n,
    ))()  # fmt: skip


def _parquet(rng: random.Random) -> tuple[str, bytes]:
    n = rng.choice((10, 10**5, 10**7))
    tables: list[Callable[[], pa.Table]] = [
        lambda: pa.table({"instruction": pa.repeat(pa.scalar(values.text(rng).replace("\ud800", "")), n)}),
        lambda: pa.table({"instruction": ["x" * 30 * n]}),
        lambda: pa.table({"instruction": ["a"] * 3, "big": ["y" * 30 * n] * 3}),
        lambda: pa.table({"instruction": ["a"], **{f"c{i}": [1] for i in range(n // 1000)}}),
        lambda: pa.table({"instruction": pa.array([None] * (n // 10), pa.string())}),
        lambda: pa.table({"instruction": pa.array([b"\xff\xfe"] * 5).view(pa.string())}),
        lambda: pa.table({"instruction": [{"a": [i]} for i in range(5)]}),
        lambda: pa.table({"instruction": ["a"], "deep": [values.nested(90)]}),
        lambda: pa.table({"instruction": ["a"] * 9, "n": pa.array([10**15] * 9, pa.timestamp("s"))}),
        lambda: pa.table({"instruction": pa.array(["a"], pa.large_string()), "f": [float("nan")]}),
        lambda: pa.table({"instruction": pa.DictionaryArray.from_arrays(
            pa.array([0, 1] * (n // 100 + 1), pa.int32()), pa.array(["z" * 10**6, "b"]))}),
        lambda: pa.table([["a"], ["b"]], names=["instruction", "instruction"]),
        lambda: pa.table({"messages": [[{"role": "user", "content": "x" * 10**6}] * 30] * 30}),
    ]  # fmt: skip
    file = io.BytesIO()
    try:
        table = rng.choice(tables)()
        size = rng.choice((1, 10**6)) if table.num_rows <= 10**5 and n < 10**5 else 10**6
        codec = rng.choice(("snappy", "zstd", "brotli", "none"))
        pq.write_table(table, file, compression=codec, row_group_size=size)
    except pa.ArrowException:
        pq.write_table(pa.table({"instruction": ["a"]}), file)
    return ".parquet", file.getvalue()


def _text(rng: random.Random) -> tuple[str, bytes]:
    n = rng.choice((1, 10**5))
    return ".txt", (values.text(rng, 20) + "\n").encode(errors="surrogatepass") * n


def _noise(rng: random.Random) -> tuple[str, bytes]:
    suffixes = (
        ".jsonl",
        ".json",
        ".csv",
        ".parquet",
        ".gz",
        ".zip",
        ".zst",
        ".bz2",
        ".xz",
        ".arrow",
    )
    heads = (
        b"",
        b"PAR1",
        b"\x1f\x8b\x08",
        b"PK\x03\x04",
        b"BZh9",
        b"\xfd7zXZ\x00",
        b"\x28\xb5\x2f\xfd",
    )
    return rng.choice(suffixes), rng.choice(heads) + rng.randbytes(rng.choice((0, 1, 100, 10**5)))


def _bomb(rng: random.Random) -> tuple[str, bytes]:
    """Return a small file that unpacks to gigabytes of a line, of rows or of nothing."""
    unit = rng.choice(
        (b" ", b"\n", b"a", b"[", b"{}\n", b'{"instruction": "a"}\n', b"a,b\n", b"\x00")
    )
    block = unit * (2**20 // len(unit))
    n = rng.choice((300, 2000))  # megabytes
    name, opened = rng.choice((("gz", gzip.GzipFile), ("bz2", bz2.BZ2File), ("xz", lzma.LZMAFile)))
    packed = io.BytesIO()
    options = {"gz": {"compresslevel": 1}, "bz2": {"compresslevel": 9}, "xz": {"preset": 0}}[name]
    if name != "gz":
        n = min(n, 400)  # it takes a second per 30 MB to make one
    start = rng.choice((b"", b'{"instruction": "', b"instruction,x\n", b"["))
    with opened(packed, "wb", **options) as file:  # type: ignore[operator]
        file.write(start)
        for _ in range(n):
            file.write(block)
    return rng.choice(
        (".jsonl.", ".csv.", ".json.", ".txt.", ".parquet.")
    ) + name, packed.getvalue()


def _damaged(rng: random.Random, content: bytes) -> bytes:
    if not content:
        return content
    kind = rng.randrange(4)
    if kind == 0:
        return content[: rng.randrange(len(content))]
    if kind == 1:
        return content + rng.randbytes(50)
    edited = bytearray(content)
    for _ in range(rng.choice((1, 20))):
        at = rng.randrange(len(edited)) if kind == 2 else rng.randrange(-min(len(edited), 300), 0)
        edited[at] = rng.randrange(256)
    return bytes(edited)


def _zip(rng: random.Random, suffix: str, content: bytes) -> tuple[str, bytes]:
    names = (
        f"a{suffix}",
        f"../../a{suffix}",
        f"/etc/a{suffix}",
        f"\x1b[31m{suffix}",
        f"b/{'c' * 300}{suffix}",
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(
        packed, "w", rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    ) as file:
        for number in range(rng.choice((1, 1, 3, 2000 if len(content) < 10**4 else 2))):
            file.writestr(f"{number}{rng.choice(names)}" if number else rng.choice(names), content)
    return ".zip", packed.getvalue()


def _zstd(content: bytes) -> bytes:
    return bytes(pa.compress(content, codec="zstd", asbytes=True)) if content else b""


PACKERS: dict[str, Callable[[random.Random, str, bytes], tuple[str, bytes]]] = {
    "gz": lambda rng, suffix, content: (f"{suffix}.gz", gzip.compress(content, 1)),
    "bz2": lambda rng, suffix, content: (f"{suffix}.bz2", bz2.compress(content)),
    "xz": lambda rng, suffix, content: (f"{suffix}.xz", lzma.compress(content, preset=0)),
    "zst": lambda rng, suffix, content: (f"{suffix}.zst", _zstd(content)),
    "zip": _zip,
}
FORMATS: dict[str, Callable[[random.Random], tuple[str, bytes]]] = {
    "jsonl": _jsonl, "json": _json, "encoded": _encoded, "csv": _csv, "long csv": _long_csv,
    "long json": _long_json, "long json 2": _long_json, "parquet": _parquet, "parquet 2": _parquet,
    "text": _text, "noise": _noise, "bomb": _bomb,
}  # fmt: skip
