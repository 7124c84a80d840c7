"""E: artifacts that were edited, with or without dvc.lock, before `selectllm verify`."""

import functools
import json
import os
import random
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ruamel.yaml import YAML

from benchmarks import paid_workspace
from benchmarks.attack import trial, values
from benchmarks.attack.trial import Finding, broken, rough
from tasks.audit.dvc_lock import dvc_md5
from tests.fake_provider import FakeProvider
from tests.workspaces import Workspace

QUICK = ("baseline.methods=[random]", "baseline.n_seeds=2", "measure.n_resamples=100")
N_RECORDS = 60
LOCK = "dvc.lock"
JOURNAL = ".selectllm/journal.sqlite"
IN_DIGEST = ("route", "model", "text", "parsed", "prompt_tokens", "completion_tokens", "usd")
IN_DIGEST += ("is_upper_bound", "reasoning_tokens", "cached_tokens")


@functools.cache
def finished() -> Workspace:
    """Return the workspace of a whole run, made once."""
    root = Path(tempfile.mkdtemp(prefix="finished-"))
    (root / "home").mkdir()
    with FakeProvider() as provider:
        space = paid_workspace.make(root / "run", root / "home", provider, N_RECORDS, ())
        space.set(*QUICK)
        space.run("git", "commit", "-qam", "Be quick")
        space.dvc("repro", "-q")
    with closing(sqlite3.connect(space.root / JOURNAL)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return space


def copy(target: Path) -> None:
    """Copy the finished workspace by links; an edit must replace a file."""
    skipped = shutil.ignore_patterns("cache", "__pycache__", "tmp", "dvc", "data_docs")
    source = finished().root
    shutil.copytree(source, target, ignore=skipped, copy_function=os.link)
    for name in (JOURNAL, LOCK, "params.yaml"):
        (target / name).unlink()
        shutil.copy(source / name, target / name)


def attack(rng: random.Random, root: Path, patience: float) -> tuple[str, list[Finding]]:
    """Edit an artifact or the journal, let verify look, and check whom it blames."""
    space = root / "run"
    copy(space)
    if rng.random() < 0.15:
        named, words = _edit_journal(rng, space / JOURNAL)
        title = f"journal: {words}"
    elif rng.random() < 0.15:
        named, title = LOCK, f"dvc.lock: {_edit_lock(rng, space / LOCK)}"
    else:
        named, title = _edit_artifact(rng, space)
    ran = trial.run("flows.cli", "verify", "--json", cwd=space, patience=patience,
                    env={"DVC_ROOT": trial.UNSET})  # fmt: skip
    found = list(trial.ending(ran))
    if ran.stopped:
        return title, found
    last = ran.output.strip().rpartition("\n{")[2] if "\n{" in ran.output else ran.output
    if ran.status == 0:
        is_said = named and f"{named} is missing" in ran.output  # of a stage that is not covered
        if named and not is_said:
            found.append(broken("it is proven"))
    elif named not in ("", LOCK) and not re.search(rf"{re.escape(_out(named))}\b", ran.output):
        found.append(rough(f"another file is blamed: {last[-400:]}"))
    return title, found


def _edit_artifact(rng: random.Random, space: Path) -> tuple[str, str]:
    """Edit a file below data/; return its name if that must be found, and what was done."""
    files = sorted(p for p in (space / "data").rglob("*") if p.is_file() and "none" not in p.name)
    path = rng.choice(files)
    name = str(path.relative_to(space))
    before = path.read_bytes()
    old_md5 = _entry_md5(space, name)
    how = rng.choice(EDITS.get(path.suffix, ()) + ANY)
    path.unlink()  # it is a link
    how(rng, before, path)
    is_same = path.is_file() and path.read_bytes() == before
    mode = rng.choice(("hash kept", "hash changed", "hash changed", "hash removed"))
    if mode != "hash kept" and path.exists():
        _edit_hash(space, name, old_md5, is_removed=mode == "hash removed")
    is_source = name.startswith("data/sample")
    may_pass = is_same or (mode == "hash changed" and (is_source or _is_only_compared(name)))
    may_pass = may_pass or (how is _remove and _is_only_compared(name))
    # Files with the same content have the same hash, so another one may be named.
    named = LOCK if mode == "hash removed" and path.exists() else name
    return "" if may_pass else named, f"{name}: {how.__name__}, {mode}"


def _is_only_compared(name: str) -> bool:
    """Return whether verify says that it only compares this output with dvc.lock."""
    stages = ("fetch", "ingest", "dedupe", "embed", "cluster", "baseline")
    return name.split("/")[1] in stages


def _entry_md5(space: Path, name: str) -> str:
    return dvc_md5(space / _out(name))


def _out(name: str) -> str:
    """Return the output or source of which a file is a part."""
    return str(Path(name).parent) if name.startswith(("data/export/", "data/fetch/")) else name


def _edit_hash(space: Path, name: str, old: str, *, is_removed: bool) -> None:
    lock = space / LOCK
    text = lock.read_text()
    if is_removed:
        text = re.sub(rf"\n +hash: md5\n +md5: {old}", "", text)
    else:
        text = text.replace(old, dvc_md5(space / _out(name)))
    lock.write_text(text)


def _edit_lock(rng: random.Random, path: Path) -> str:
    """Change dvc.lock alone."""
    yaml = YAML(typ="safe")
    content = yaml.load(path)
    kind = rng.randrange(6)
    if kind == 0:
        values.edit(rng, content)
        path.write_text(json.dumps(content).encode(errors="replace").decode())
        return "a value is edited"
    if kind == 1:
        stage = rng.choice(list(content["stages"]))
        entry = rng.choice(content["stages"][stage]["outs"])
        entry["md5"] = f"{rng.getrandbits(128):032x}"
        path.write_text(json.dumps(content))
        return f"another hash of {entry['path']}"
    if kind == 2:
        path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])
        return "cut off"
    text = rng.choice((
        b"", b"\xff\xfe", b"[" * 10**5, b"- " * 10**5, b"stages: {}", b"stages: 5", b"a: &a [*a]",
        b"a: &a [1,1,1,1,1,1,1,1,1]\n" + b"".join(
            b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9))
            for i in range(9)
        ) + b"stages: *j\n",
        b"stages: {x: {deps: [{path: 5}]}}", b"!!python/object/apply:os.system ['true']",
        b"stages: {choose: {outs: [{path: ../../../etc/passwd, md5: x}]}}", b"\x00" * 100,
    ))  # fmt: skip
    path.write_bytes(text)
    return repr(text[:60])


def _edit_journal(rng: random.Random, path: Path) -> tuple[str, str]:
    """Change the journal; return its name if that must be found, and what was done."""
    kind = rng.randrange(5)
    if kind < 3:
        with closing(sqlite3.connect(path)) as db, db:
            key = rng.choice([row[0] for row in db.execute("SELECT key FROM answers")])
            if kind == 0:
                db.execute("DELETE FROM answers WHERE key = ?", (key,))
                return path.name, "an answer is deleted"
            table = rng.choice(("answers", "answers", "calls"))
            columns = IN_DIGEST if table == "answers" else ("prompt_tokens", "usd")
            column = rng.choice(columns)
            (old,) = db.execute(f"SELECT {column} FROM {table} WHERE key = ?", (key,)).fetchone()
            new = (
                f"{old}x"
                if isinstance(old, str)
                else 1 - old
                if column == "is_upper_bound"
                else old + 1
            )
            db.execute(f"UPDATE {table} SET {column} = ? WHERE key = ?", (new, key))
            return path.name, f"{table}.{column} {old!r:.30} -> {new!r:.30}"
    content = bytearray(path.read_bytes())
    if kind == 3:
        content = content[: rng.randrange(len(content))]
    for _ in range(50):
        content[rng.randrange(len(content))] = rng.randrange(256)
    path.write_bytes(content)
    return "", "50 random bytes"  # they may be in a page that is not used


Edit = Callable[[random.Random, bytes, Path], None]


def _flip(rng: random.Random, content: bytes, path: Path) -> None:
    edited = bytearray(content or b"x")
    for _ in range(rng.choice((1, 1, 10))):
        edited[rng.randrange(len(edited))] ^= rng.randrange(1, 256)
    path.write_bytes(edited)


def _cut(rng: random.Random, content: bytes, path: Path) -> None:
    path.write_bytes(content[: rng.randrange(len(content) + 1)])


def _extend(rng: random.Random, content: bytes, path: Path) -> None:
    path.write_bytes(content + rng.choice((b"\n", b" ", b"\x00", b"{}", content)))


def _replace(rng: random.Random, content: bytes, path: Path) -> None:
    path.write_bytes(
        rng.choice((b"", b"\xff\xfe", b"[" * 10**6, b"null", b"{}", b"\n", b"\x00" * 99))
    )


def _folder(_rng: random.Random, _content: bytes, path: Path) -> None:
    path.mkdir()


def _remove(_rng: random.Random, _content: bytes, path: Path) -> None:
    pass


def _swap_lines(rng: random.Random, content: bytes, path: Path) -> None:
    lines = content.splitlines(keepends=True)
    if len(lines) > 1:
        i, j = rng.sample(range(len(lines)), 2)
        lines[i], lines[j] = lines[j], lines[i]
    path.write_bytes(b"".join(lines))


def _drop_line(rng: random.Random, content: bytes, path: Path) -> None:
    lines = content.splitlines(keepends=True)
    if lines:
        del lines[rng.randrange(len(lines))]
    path.write_bytes(b"".join(lines))


def _digit(rng: random.Random, content: bytes, path: Path) -> None:
    """Change a digit that is not the last of a long fraction, whose rounding may differ."""
    places = [match.start() for match in re.finditer(rb"(?<![.\d])\d(?![\d.])", content)]
    edited = bytearray(content)
    if places:
        at = rng.choice(places)
        edited[at] = ord("0") + (edited[at] - ord("0") + 1) % 10
    path.write_bytes(edited)


def _json_value(rng: random.Random, content: bytes, path: Path) -> None:
    lines = content.splitlines() if path.suffix == ".jsonl" else [content]
    try:
        at = rng.randrange(len(lines))
        tree = json.loads(lines[at])
        values.edit(rng, tree)
        lines[at] = values.dumps(tree)
    except ValueError:
        lines.append(b"{}")
    path.write_bytes(b"\n".join(lines) + b"\n")


def _table(rng: random.Random, content: bytes, path: Path) -> None:
    table = pq.read_table(pa.BufferReader(content))
    rows, n = table.to_pylist(), table.num_rows
    kind = rng.randrange(7)
    try:
        if kind == 0 and n > 1:
            i, j = rng.sample(range(n), 2)
            rows[i], rows[j] = rows[j], rows[i]
        elif kind == 1 and n:
            rows.pop(rng.randrange(n))
        elif kind == 2 and n:
            rows.append(rng.choice(rows))
        elif kind == 3 and n:
            name = rng.choice(table.column_names)
            rows[rng.randrange(n)][name] = _other(rng, rows[0][name])
        elif kind == 4:
            table = table.drop_columns(rng.choice(table.column_names))
            return pq.write_table(table, path)
        elif kind == 5:
            extra = pa.array(["x"] * n)
            return pq.write_table(table.append_column("more", extra), path)
        else:
            table = table.replace_schema_metadata({"n_rows": "9" * 30, "file": "\x1b[31m"})
            return pq.write_table(table, path)
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    except (pa.ArrowException, ValueError, TypeError):
        path.write_bytes(content + b"x")
    return None


def _other(rng: random.Random, old: Any) -> Any:
    if isinstance(old, str):
        return rng.choice((old + "x", "", old[:-1] or "y", "0" * 16))
    if isinstance(old, float):
        return rng.choice((old + 0.25, float("nan"), float("inf"), -1.0))
    return None if old is None else old + rng.choice((1, -1, 10**6))


def _vectors(rng: random.Random, content: bytes, path: Path) -> None:
    path.write_bytes(content)
    vectors = np.load(path)
    path.unlink()
    if not len(vectors):
        vectors = np.zeros((1, 3), np.float32)
    elif rng.random() < 0.5:
        vectors[rng.randrange(len(vectors))] = rng.choice((0.0, np.nan, np.inf, -1.0))
    else:
        vectors = rng.choice((vectors[::-1], vectors[:-1], vectors.astype(float), vectors[:, :-1]))
    np.save(path, vectors)


ANY: tuple[Edit, ...] = (_flip, _flip, _cut, _extend, _replace, _folder, _remove)
EDITS: dict[str, tuple[Edit, ...]] = {
    ".parquet": (_table, _table, _table, _table),
    ".json": (_json_value, _json_value, _json_value, _digit),
    ".jsonl": (_json_value, _json_value, _swap_lines, _drop_line, _digit),
    ".csv": (_swap_lines, _drop_line, _digit),
    ".tex": (_swap_lines, _drop_line, _digit),
    ".html": (_digit, _swap_lines),
    ".npy": (_vectors, _vectors, _vectors),
}
