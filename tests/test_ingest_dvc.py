"""Sources with real DVC: which changes make ingest stale, and that nothing is copied twice."""

import gzip
import json
import sqlite3

import pytest

from tests.ingest_rows import line
from tests.workspaces import Workspace

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def space(clone):
    return clone("sources")


@pytest.fixture(autouse=True)
def params_kept(space):
    with space.params_kept():
        yield


def pool(space):
    """Run ingest and return the instructions in its pool."""
    import pyarrow.parquet as pq  # noqa: PLC0415

    space.dvc("repro", "fetch", "ingest")
    return pq.read_table(space.root / "data/ingest/pool.parquet")["instruction"].to_pylist()


def stale(space):
    status = json.loads(space.dvc("status", "--json", "fetch", "ingest").stdout)
    return {name for name, changes in status.items() if changes != ["always changed"]}


def test_a_changed_shard_of_a_folder_or_pattern_makes_ingest_stale(space):
    shards = space.root / "shards"
    shards.mkdir()
    (shards / "a.jsonl").write_text(line("A"))
    (shards / "b.jsonl.gz").write_bytes(gzip.compress(line("B").encode()))
    (shards / "c.csv").write_text("instruction\nC\n")
    space.set("ingest.source=shards")
    assert pool(space) == ["A", "B", "C"]
    assert "ingest" not in stale(space)
    (shards / "a.jsonl").write_text(line("A2"))
    assert stale(space) == {"ingest"}
    space.set("ingest.source=shards/*.jsonl*")
    assert pool(space) == ["A2", "B"]
    space.set("ingest.source=[shards/c.csv, shards/a.jsonl]")
    assert pool(space) == ["C", "A2"]
    (shards / "c.csv").write_text("instruction\nC2\n")
    assert stale(space) == {"ingest"}


def test_files_of_several_folders_are_copied_once_and_again_on_request(space):
    for name in ("x", "y"):
        (space.root / name).mkdir()
        (space.root / name / "a.jsonl").write_text(line(name))
    space.set("ingest.source=[y/a.jsonl, x/a.jsonl]")
    assert pool(space) == ["y", "x"]
    assert not stale(space)
    assert "didn't change" in space.dvc("repro", "fetch").stdout
    (space.root / "x/a.jsonl").write_text(line("x2"))
    space.dvc("repro", "--force", "--single-item", "fetch")
    assert stale(space) == {"ingest"}
    assert pool(space) == ["y", "x2"]
    space.set("ingest.source=data/sample/instructions.jsonl")
    params = space.root / "params.yaml"
    assert "fetch: # copies" in params.read_text()
    assert "source: null" in params.read_text()


def test_a_query_is_a_source(space):
    with sqlite3.connect(space.root / "pool.db") as connection:
        connection.execute("CREATE TABLE q (prompt TEXT)")
        connection.executemany("INSERT INTO q VALUES (?)", [("A",), ("B",)])
    connection.close()
    space.set(
        "fetch.database=sqlite:///pool.db", "ingest.source=sql:SELECT prompt FROM q ORDER BY 1"
    )
    assert pool(space) == ["A", "B"]
    assert not stale(space)


def test_a_data_set_of_another_repository_follows_its_locked_revision(space, tmp_path):
    other = Workspace.commit(tmp_path / "other", tmp_path)
    (other.root / "pool").mkdir()
    (other.root / "pool/a.jsonl").write_text(line("A"))
    other.dvc("add", "-q", "pool")
    other.run("git", "add", "-A")
    other.run("git", "commit", "-qm", "One")
    space.dvc("ds", "add", "questions", "--dvc", str(other.root), "--path", "pool")
    space.set("ingest.source=ds://questions")
    assert pool(space) == ["A"]
    (other.root / "pool/b.jsonl").write_text(line("B"))
    other.dvc("add", "-q", "pool")
    other.run("git", "add", "-A")
    other.run("git", "commit", "-qm", "Two")
    assert not stale(space)
    space.dvc("ds", "update", "questions")
    assert stale(space) == {"ingest"}
    assert pool(space) == ["A", "B"]
    message = space.call("run", "-S", "ingest.source=ds://question").stderr
    assert "did you mean questions?" in message
    assert "dvc ds add" in message
