"""A journal of version 2, written by the code of that time: nothing in it is bought again.

`tests/data/journal_v2.sqlite` is from a run over the workspace below: three votes, a rationale,
attention checks, two rounds (there is one now), a fallback route, a refused parameter, a prompt
sent in halves, and ratings, two of them without a usable reply.
"""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest

from tasks.baseline.step import work as baseline
from tasks.lib.core.schemas import BALLOTS, POOL, PROMPTS, SELECTIONS, UNIQUE
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table
from tasks.lib.journal import legacy, schema
from tasks.lib.journal.journal import Journal
from tasks.lib.journal.models import answer_key
from tasks.lib.journal.reader import JournalReader
from tasks.llm_select.step import work as llm_select
from tests.behaviours import fails
from tests.fake_provider import FakeProvider
from tests.sound_run import CLUSTERS
from tests.workspaces import PROJECT, StepWorkspace

JOURNAL = PROJECT / "tests/data/journal_v2.sqlite"
N, SIZE = 24, 6
PICKED = [(1, 0x00), (2, 0x0A), (3, 0x0C), (4, 0x12)]  # first ranks of the first round
SPENT_USD = 0.020147


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Return the folder of the workspace."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    workspace = StepWorkspace(tmp_path, "tasks")
    records = [
        {
            "id": f"{i:016x}",
            "instruction": f"Explain topic {i} to a beginner, with two examples.",
            "input": "",
            "output": f"It is worth {i % 11 / 2:g}",
            "source": f"pool.jsonl:{i + 1}",
            "extra": "{}",
        }
        for i in range(N)
    ]
    shown = [
        {"prompt": i // SIZE + 1, "slot": i % SIZE + 1, "id": f"{i:016x}", "cluster": i % SIZE + 1}
        for i in range(N)
    ]
    workspace.write_no_references(0)
    workspace.write("ingest/pool.parquet", records, POOL)
    workspace.write("dedupe/unique.parquet", [{"id": row["id"]} for row in records], UNIQUE)
    workspace.write("cluster/prompts.parquet", shown, PROMPTS)
    np.save(workspace.file("embed/vectors.npy"), np.zeros((N, 2), np.float32))
    sizes = {"n_records": N, "candidates_per_prompt": SIZE, "n_prompts": N // SIZE}
    workspace.write_json("cluster/clusters.json", {**CLUSTERS, "mode": "across", **sizes})
    (tmp_path / ".selectllm").mkdir()
    shutil.copy(JOURNAL, tmp_path / ".selectllm/journal.sqlite")
    return tmp_path


@pytest.fixture
def provider(root):
    """Yield a provider that refuses the key of every call."""
    with FakeProvider(fails(401, "no call was expected")) as server:
        other = server.deployment(model="openai/fake-two", schema="auto")
        asked = {"budget": 2, "votes": 3, "rationale": True, "attention_checks": 2, "shortlist": 1}
        StepWorkspace(root).update(
            models={"mine": server.deployment(schema="auto"), "other": other},
            llm_select=asked | {"route": "mine", "fallback_routes": ["other"]},
            baseline={"methods": ["alpagasus"], "route": "mine"},
        )
        yield server


def n_names(path):
    """Return the number of names under which the spending of llm_select is recorded."""
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT round(usd, 6), count(*) FROM spending GROUP BY usd").fetchall()
    return dict(rows)[SPENT_USD]


def test_former_answers_to_the_same_questions_are_found_without_a_call(root, provider):
    for _ in range(2):
        Stage("llm_select", root).run(llm_select)
        assert not provider.calls
        rows = read_table(root / "data/llm_select/ballots.parquet", BALLOTS).to_pylist()
        assert [(r["prompt"], int(r["id"], 16)) for r in rows if r["rank"] == 1] == PICKED
        usage = json.loads((root / "data/llm_select/usage.json").read_text())
        assert usage["answers"] == {"mine": 14, "other": 2}
        assert usage["dropped_params"]["mine"] == ["response_format", "seed"]
        assert usage["attention_checks"]["gibberish"]["shown"] == 1
        assert n_names(root / ".selectllm/journal.sqlite") == 2


def test_former_ratings_are_found_and_unusable_replies_still_count(root, provider):
    Stage("baseline", root).run(baseline)
    assert not provider.calls
    rows = read_table(root / "data/baseline/selections.parquet", SELECTIONS).to_pylist()
    assert [row["id"] for row in rows] == ["0000000000000015", "000000000000000a"]
    usage = json.loads((root / "data/baseline/usage.json").read_text())
    assert usage["alpagasus"]["calls"] == 22


def test_reading_leaves_a_former_journal_unchanged(root):
    path = root / ".selectllm/journal.sqlite"
    before = path.read_bytes()
    with closing(sqlite3.connect(path)) as db:
        (key,) = db.execute("SELECT key FROM answers WHERE picks = '[2, 1, 4, 3]'").fetchone()
    with closing(JournalReader(path)) as journal:
        answer = journal.answer(key)
        assert answer.parsed == (2, 1, 4, 3)
        assert journal.has_former_keys
    assert path.read_bytes() == before


def test_formerly_forgiven_calls_are_marked_for_retry(root):
    path = root / ".selectllm/journal.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE calls SET outcome = 'forgiven no_list' WHERE outcome = 'no_list'")
        (key,) = db.execute("SELECT key FROM calls WHERE outcome LIKE 'forgiven%'").fetchone()
    with closing(Journal(path)) as journal:
        assert [a.outcome for a in journal.failed_attempts(key)] == ["refused_parameter"]
        outcomes = [a.outcome for a in journal.failed_attempts(key, with_retried=True)]
        assert outcomes.count("no_list") == 2


KILLED = """
import os, signal, sys
from pathlib import Path
from tasks.lib.journal import legacy, schema

class Killing(tuple):
    def __iter__(self):
        for i, statement in enumerate(super().__iter__()):
            if i == int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGKILL)
            yield statement

schema.MIGRATIONS[2] = Killing(legacy.MIGRATIONS[2])
schema.connect(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("n_done", [1, 4, 6])
def test_a_migration_that_is_killed_leaves_the_whole_old_journal(root, n_done):
    path = root / ".selectllm/journal.sqlite"
    command = [sys.executable, "-c", KILLED, str(path), str(n_done)]
    done = subprocess.run(command, cwd=PROJECT, check=False)
    assert done.returncode == -signal.SIGKILL
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (2,)
        assert db.execute("SELECT count(left_out) FROM answers").fetchone() == (40,)
    with closing(Journal(path)) as journal:
        assert journal.has_former_keys


def test_a_journal_of_version_3_keeps_its_answers_and_their_hashes(root):
    path = root / ".selectllm/journal.sqlite"
    with closing(sqlite3.connect(path)) as db, db:
        for statement in legacy.MIGRATIONS[2]:
            db.execute(statement)
        db.execute("PRAGMA user_version = 3")
        (key,) = db.execute("SELECT key FROM answers LIMIT 1").fetchone()
    before = path.read_bytes()
    with closing(JournalReader(path)) as reader:
        read = reader.answer(key)
    assert path.read_bytes() == before
    with closing(Journal(path)) as journal:
        assert journal.answer(key) == read
    facts = read._asdict()
    assert (facts.pop("reasoning_tokens"), facts.pop("cached_tokens")) == (0, 0)
    assert read.digest == answer_key(**facts)[:32]  # as receipts of that time have it
    assert read._replace(reasoning_tokens=1).digest != read.digest
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
        assert db.execute("SELECT DISTINCT remark FROM calls").fetchall() == [("",)]
