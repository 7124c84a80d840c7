"""A run in a clean clone of a commit: outputs come from the DVC remote, and go to it."""

import json
import shutil
from dataclasses import replace

import pytest

from flows.dvc.commit_clone import clean_clone
from flows.identity import read_identity
from tasks.lib.core.errors import CurationError
from tests.test_run_parameters import call

pytestmark = pytest.mark.slow


@pytest.fixture
def space(toy, server):
    """Make a workspace with a local remote next to it, and a change that is not committed."""
    toy.env.update(server.env)
    toy.dvc("remote", "add", "--local", "--default", "near", "../my remote")
    (toy.root / "source.txt").write_text("uncommitted")
    return toy


def test_a_run_of_a_commit_leaves_the_folder_alone_and_its_outputs_reach_the_remote(space, server):
    call(space, commit="HEAD")
    head = space.run("git", "rev-parse", "HEAD").stdout.strip()
    clone = replace(space, root=space.root / ".selectllm/clones" / head[:12])
    assert (clone.root / "data/second/second.txt").read_text() == "hello 1 1"
    assert clone.ran() == ["first", "second"]
    assert not (space.root / "data").exists()
    identity = read_identity(clone.root)
    assert (identity.commit, bool(identity.mlflow_run_id)) == (head, True)

    shutil.copy(clone.root / "dvc.lock", space.root)
    space.run("git", "add", "dvc.lock")
    space.run("git", "commit", "-qm", "Lock the run")
    shutil.rmtree(space.root / ".dvc/cache")
    call(space, commit="HEAD")
    assert set(server.last_states().values()) == {("Cached", "restored from DVC's cache")}
    locked = replace(space, root=space.root / ".selectllm/clones" / head_of(space)[:12])
    assert (locked.root / "data/second/second.txt").read_text() == "hello 1 1"
    assert locked.ran() == []
    assert read_identity(locked.root).is_dirty is False

    shutil.rmtree(space.root / ".dvc/cache")
    shutil.rmtree(locked.root)
    for kept in (space.root.parent / "my remote/files").rglob("*"):
        if kept.is_file():
            kept.unlink()
    call(space, commit="HEAD")
    assert locked.ran() == ["first", "second"]  # made again, since the remote lacks them


def head_of(space):
    return space.run("git", "rev-parse", "HEAD").stdout.strip()


@pytest.mark.parametrize(
    ("commit", "remote", "words"),
    [
        ("absent", "../x", "commit: Git has no commit absent"),
        ("--all", "../x", "commit: Git has no commit --all"),
        ("HEAD", None, "DVC remote: there is no default remote"),
        ("HEAD", "oss://bucket/x", "DVC remote: `dvc fetch` failed: "),
    ],
)
def test_a_commit_or_a_remote_that_cannot_be_used_is_named_in_one_sentence(
    toy, commit, remote, words
):
    lock = {"schema": "2.0", "stages": {"first": {"cmd": "python -m tasks.first", "outs": [
        {"path": "data/first/first.txt", "hash": "md5", "md5": "0" * 32, "size": 1}]}}}  # fmt: skip
    (toy.root / "dvc.lock").write_text(json.dumps(lock))
    toy.run("git", "add", "-A")
    toy.run("git", "commit", "-qm", "Lock an output")
    if remote:
        toy.dvc("remote", "add", "--local", "--default", "far", remote)
    with pytest.raises(CurationError) as refused:
        clean_clone(toy.root, commit)
    assert str(refused.value).startswith(words)
    assert refused.value.fix
    assert len(str(refused.value).splitlines()) == 2
