"""Any changed byte in the data behind a selection is found, in a clone of a finished run."""

import json
import random
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from tasks.audit.verify import verify
from tasks.lib.documents.judgement import read_judgements

pytestmark = pytest.mark.slow

N_FLIPS = 40  # a file or table, of five


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


def test_any_changed_byte_is_found_with_its_file_and_a_fresh_clone_has_none(
    done, tmp_path, monkeypatch
):
    """The clone has the files in Git, DVC's cache and the journal; nothing is run in it."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    root = tmp_path / "empty"
    done.run("git", "clone", "-q", str(done.root), str(root))
    shutil.copy(done.root / "dvc.lock", root)
    empty = replace(done, root=root)
    shutil.copytree(done.root / ".dvc/cache", root / ".dvc/cache")
    empty.dvc("checkout")
    journal = root / ".selectllm/journal.sqlite"
    journal.parent.mkdir()
    with closing(sqlite3.connect(done.root / ".selectllm/journal.sqlite")) as db:
        db.execute("VACUUM INTO ?", (str(journal),))
    proven = json.loads(empty.selectllm("verify", "--json").stdout)
    assert proven["proven"]
    assert (proven["n_selected"], proven["n_answers"]) == (60, 32)
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
        assert [difference.file for difference in verify(root).differences] == [str(journal)]
        journal.write_bytes(kept)
    assert verify(root).differences == []
    journal.unlink()
    refused = empty.call("verify")
    assert refused.returncode == 1
    assert "journal.sqlite: the journal is missing" in refused.stderr
    assert "not proven" in refused.stdout
