"""Any change of what a run reads or writes is found, in a clone of a finished run."""

import contextlib
import json
import random
import re
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.audit.check_schemas import CHECKS, damaged_files
from tasks.audit.differences import changed_files
from tasks.audit.dvc_lock import Lock, dvc_md5
from tasks.audit.rebuild_stage import rebuild_stage
from tasks.audit.verify import verify
from tasks.lib.documents.judgement import read_judgements

pytestmark = pytest.mark.slow

N_FLIPS = 20  # a file or table, of five
EARLIER = "fetch, ingest, dedupe, embed, cluster"


def flipped(data, draw):
    """Return the bytes with one byte changed."""
    at = draw.randrange(len(data))
    return data[:at] + bytes([data[at] ^ draw.randrange(1, 256)]) + data[at + 1 :]


def flip_answer(journal, used, draw):
    """Change one byte of a used answer in the journal: in its key, text, picks or names."""
    with closing(sqlite3.connect(journal)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        query = "SELECT key, route, model, text, parsed FROM answers WHERE key = ?"
        row = db.execute(query, (draw.choice(used),)).fetchone()
    payload = "".join(row).encode()
    data = journal.read_bytes()
    assert data.count(payload) == 1
    journal.write_bytes(data.replace(payload, flipped(payload, draw)))


@pytest.fixture(scope="module")
def finished(done, tmp_path_factory):
    """A clone with the files in Git, DVC's cache and the journal; nothing is run in it."""
    root = tmp_path_factory.mktemp("finished") / "clone"
    done.run("git", "clone", "-q", str(done.root), str(root))
    shutil.copy(done.root / "dvc.lock", root)
    empty = replace(done, root=root)
    shutil.copytree(done.root / ".dvc/cache", root / ".dvc/cache")
    empty.dvc("checkout")
    journal = root / ".selectllm/journal.sqlite"
    journal.parent.mkdir()
    with closing(sqlite3.connect(done.root / ".selectllm/journal.sqlite")) as db:
        db.execute("VACUUM INTO ?", (str(journal),))
    return empty


@contextlib.contextmanager
def edited(root, edits):
    """Replace the content of files, and their hashes in dvc.lock; restore all of it at the end."""
    kept = {root / path: (root / path).read_bytes() for path in ["dvc.lock", *edits]}
    lock = kept[root / "dvc.lock"].decode()
    try:
        for path, content in edits.items():
            (root / path).write_bytes(content)
            out = str(Path(path).parent) if path.startswith("data/export/") else path
            entry = re.compile(rf"(path: {re.escape(out)}\n +hash: md5\n +md5: )[0-9a-f.dir]+")
            lock, n = entry.subn(rf"\g<1>{dvc_md5(root / out)}", lock)
            assert n
        (root / "dvc.lock").write_text(lock)
        yield
    finally:
        for path, content in kept.items():
            path.write_bytes(content)


def blamed(differences, root):
    """Return the files that the differences name, without their line."""
    return {d.file.removeprefix(f"{root}/").partition(":")[0] for d in differences}


def rewritten(path, change):
    """Return the bytes of a document, or of its first line, after a change of its values."""
    first, *rest = (
        path.read_bytes().splitlines() if path.suffix == ".jsonl" else [path.read_bytes()]
    )
    return b"\n".join([json.dumps(change(json.loads(first))).encode(), *rest])


def without_a_key(values):
    return {name: value for name, value in values.items() if name != next(iter(values))}


def with_a_list(values):
    return {name: [[], value][i > 0] for i, (name, value) in enumerate(values.items())} or [1]


def as_parquet(table, target):
    pq.write_table(table, target)
    return target.read_bytes()


def not_utf8(table):
    """Return a table with a text that is not UTF-8."""
    (at,) = [i for i, field in enumerate(table.schema) if field.name in {"id", "file"}]
    bad = pa.array([b"\xff\xfe"] * len(table)).view(pa.string())
    return table.set_column(at, table.schema.field(at), bad)


def damages(path, scratch):
    """Yield ways in which a file may not be in the format that its step writes."""
    data = path.read_bytes()
    yield from (data[: len(data) // 2 or 1], b"[" * 100_000)
    if path.suffix != ".jsonl":  # which may be empty
        yield b""
    if path.suffix != ".parquet":  # which is read from its end
        yield b"\xff\xfe" + data
    if path.suffix == ".parquet":
        table = pq.ParquetFile(path).read()
        yield as_parquet(table.drop_columns(table.column_names[0]), scratch)
        yield as_parquet(table.append_column("more", pa.array(range(len(table)))), scratch)
        if len(table):
            yield as_parquet(not_utf8(table), scratch)
            yield data.replace(data[10:40], bytes(30), 1)
    elif path.suffix == ".npy":
        yield data.replace(b"<f4", b"<f8", 1)
        yield data.replace(b"(", b"'", 1)
    else:
        yield rewritten(path, with_a_list)
        if path.parent.name != "baseline":  # none of its keys is required
            yield rewritten(path, without_a_key)


def test_a_file_that_does_not_match_its_schema_is_named_whatever_is_wrong_with_it(
    finished, tmp_path
):
    root, lock, wrong = finished.root, Lock(finished.root), []
    for tail in CHECKS:
        path = root / "data" / tail
        kept = path.read_bytes()
        for number, content in enumerate(damages(path, tmp_path / "part")):
            path.write_bytes(content)
            found = blamed(damaged_files(lock), root)
            if found != {f"data/{tail}"}:
                wrong.append((tail, number, found))
            path.write_bytes(kept)
    assert wrong == []


def test_a_file_of_another_schema_is_named_even_if_dvc_lock_has_its_hash(finished, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    with edited(finished.root, {"data/measure/savings.json": b"{}"}):
        (difference,) = verify(finished.root).differences
    assert difference.file == "data/measure/savings.json"
    assert difference.what == "the field n_selected is missing"


EDITS = {
    "export": {
        "data/export/selection.csv": (b"\n", b"\n\n"),
        "data/export/selection.alpaca.jsonl": (b'"id"', b'"ID"'),
        "data/export/selection.chat.jsonl": (b"user", b"User"),
        "data/export/selection.parquet": (b"PAR1", b"PAR2"),
    },
    "validate": {"data/validate/result.json": (b'"success": true', b'"success": false')},
    "measure": {
        "data/measure/metrics.json": (b'"n_seeds": 1', b'"n_seeds": 2'),
        "data/measure/savings.json": (b'"saved": ', b'"saved": 1'),
        "data/measure/figures.csv": (b"llm_select", b"LLM_select"),
        "data/measure/table.csv": (b"this selection", b"that selection"),
        "data/measure/table.tex": (b"this selection", b"that selection"),
    },
    "report": {"data/report/index.html": (b"records selected", b"records chosen")},
}


@pytest.mark.parametrize("stage", EDITS)
def test_an_output_that_was_edited_together_with_dvc_lock_differs_when_rebuilt(
    finished, stage, monkeypatch
):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    root = finished.root
    edits = {}
    for path, (old, new) in EDITS[stage].items():
        edits[path] = (root / path).read_bytes().replace(old, new, 1)
        assert edits[path] != (root / path).read_bytes()
    with edited(root, edits):
        lock = Lock(root)
        assert list(changed_files(lock)) == []
        found = rebuild_stage(lock, stage).differences
    assert blamed(found, root) == set(edits)
    assert all(f"{stage}` to rebuild it" in difference.fix for difference in found)


@pytest.mark.parametrize(
    ("stage", "path", "expected"),
    [
        ("choose", "data/choose/selected.parquet", "rounded"),
        ("choose", "data/choose/receipt.jsonl", "different"),
        ("report", "data/report/index.html", "different"),
    ],
)
def test_a_last_digit_may_differ_only_where_the_processor_can_be_the_cause(
    finished, stage, path, expected, tmp_path
):
    def more(number):
        return f"{float(number[0]) * (1 + 1e-9)!r}"

    file = finished.root / path
    if file.suffix == ".parquet":
        rows = pq.ParquetFile(file).read()
        at = rows.schema.get_field_index("gain")
        gains = pa.array([gain * (1 + 1e-9) for gain in rows["gain"].to_pylist()])
        content = as_parquet(rows.set_column(at, rows.schema.field(at), gains), tmp_path / "part")
    else:
        content = re.sub(r"0\.\d{4,}", more, file.read_text(), count=1).encode()
    with edited(finished.root, {path: content}):
        differences, rounded = rebuild_stage(Lock(finished.root), stage)
    assert rounded == ([path] if expected == "rounded" else [])
    assert [d.file for d in differences] == ([path] if expected == "different" else [])


@pytest.mark.parametrize("name", ["selection.csv", "other.csv"])
def test_a_missing_and_an_added_export_are_named(finished, name):
    export = finished.root / "data/export"
    path = export / name
    kept = path.read_bytes() if path.exists() else None
    path.write_bytes(b"") if kept is None else path.unlink()
    (difference,) = rebuild_stage(Lock(finished.root), "export").differences
    assert difference.file == f"data/export/{name}"
    path.unlink() if kept is None else path.write_bytes(kept)
    assert rebuild_stage(Lock(finished.root), "export").differences == []


def test_a_fresh_clone_is_proven(finished, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    proven = json.loads(finished.call("verify", "--json").stdout)
    assert proven["proven"]
    assert (proven["n_selected"], proven["n_answers"]) == (60, 32)
    assert proven["rebuilt"] == ["llm_select", "choose", "validate", "export", "measure", "report"]
    assert [skipped["stage"] for skipped in proven["not_rebuilt"]] == [EARLIER, "baseline"]


def test_any_changed_byte_is_found_with_its_file(finished, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    root = finished.root
    journal = root / ".selectllm/journal.sqlite"
    draw = random.Random(0)
    for tail in ("ingest/pool", "cluster/prompts", "choose/selected", "receipt"):
        (path,) = [p for p in (root / "data").rglob("*") if str(p.with_suffix("")).endswith(tail)]
        kept = path.read_bytes()
        for _ in range(N_FLIPS):
            path.write_bytes(flipped(kept, draw))
            assert [difference.file for difference in verify(root).differences] == [
                str(path.relative_to(root))
            ]
        path.write_bytes(kept)
    judgements = read_judgements(root / "data/llm_select/judgements.jsonl")
    used = [answer.key for judgement in judgements for answer in judgement.answers]
    kept = journal.read_bytes()
    for _ in range(N_FLIPS):
        flip_answer(journal, used, draw)
        assert blamed(verify(root).differences, root) == {".selectllm/journal.sqlite"}
        journal.write_bytes(kept)
    journal.unlink()
    proven = finished.call("verify")
    assert proven.returncode == 0
    assert "32 answers of the offline judge, which answered again" in proven.stdout
    journal.write_bytes(kept)
