"""Inputs that change while a step runs: the step fails, so that dvc.lock never names them."""

import json
import os

import pytest

from tasks.ingest.step import work
from tasks.lib.core.errors import CurationError
from tasks.lib.core.stage import Stage
from tests.ingest_rows import SECTION
from tests.workspaces import StepWorkspace

FOLDER = {"ingest": {"source": "shards"}}


@pytest.fixture
def space(tmp_path, monkeypatch):
    """Return a workspace whose source, held-out file and other files have four records each."""
    monkeypatch.chdir(tmp_path)
    space = StepWorkspace(tmp_path)
    (tmp_path / "shards").mkdir()
    for name in ("pool", "shards/a", "shards/b", "annotated", "targets", "held_out", "excluded"):
        rows = [{"instruction": f"Describe the {thing} of {name}."} for thing in "abcd"]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    named = {"annotated": "annotated.jsonl", "targets": "targets.jsonl"}
    files = {"exclude_file": "excluded.jsonl", "decontaminate": "held_out.jsonl"}
    space.update(ingest=SECTION | files, choose=named)
    return space


def replace(path):
    part = path.with_name("new.part")
    part.write_bytes(path.read_bytes())
    os.replace(part, path)


def grow(path):
    with path.open("a") as file:
        file.write(json.dumps({"instruction": "One more."}) + "\n")


def add_another(path):
    path.with_name("c.jsonl").write_bytes(path.read_bytes())


def remove(path):
    path.unlink()


def run_and(change, space):
    """Run ingest, and make a change after everything is read."""

    def read_then_change(stage):
        work(stage)
        change()

    Stage("ingest", space.root).run(read_then_change)


@pytest.mark.parametrize(
    ("sections", "name", "change", "words"),
    [
        ({}, "pool.jsonl", replace, "pool.jsonl: the file changed while"),
        ({}, "pool.jsonl", grow, "pool.jsonl: the file changed while"),
        ({}, "pool.jsonl", remove, "pool.jsonl: the file disappeared while"),
        (FOLDER, "shards/b.jsonl", grow, "b.jsonl: the file changed while"),
        (FOLDER, "shards/b.jsonl", remove, "b.jsonl: the file disappeared while"),
        (FOLDER, "shards/b.jsonl", add_another, "c.jsonl: the file appeared while"),
        ({}, "annotated.jsonl", grow, "annotated.jsonl: the file changed while"),
        ({}, "targets.jsonl", grow, "targets.jsonl: the file changed while"),
        ({}, "held_out.jsonl", grow, "held_out.jsonl: the file changed while"),
        ({}, "excluded.jsonl", grow, "excluded.jsonl: the file changed while"),
    ],
)
def test_a_file_that_changes_before_the_step_ends_is_refused(space, sections, name, change, words):
    space.update(**sections)
    with pytest.raises(CurationError, match=words) as caught:
        run_and(lambda: change(space.root / name), space)
    assert caught.value.fix.endswith("then run this again.")
    assert not (space.root / "data/ingest/pool.parquet").exists()


def test_a_file_that_disappears_before_it_is_read_is_refused(space):
    def remove_then_read(stage):
        (space.root / "pool.jsonl").unlink()
        work(stage)

    with pytest.raises(CurationError, match=r"pool.jsonl: the file disappeared while"):
        Stage("ingest", space.root).run(remove_then_read)


def test_a_parameter_that_changes_before_the_step_ends_is_refused(space):
    with pytest.raises(CurationError, match=r"ingest.turn was changed from 'last' to 'all'"):
        run_and(lambda: space.update(ingest={"turn": "all"}), space)


def test_changes_of_what_the_step_does_not_read_are_allowed(space):
    def change():
        space.update(llm_select={"budget": 7})
        grow(space.root / "shards/a.jsonl")
        (space.root / "tasks/ingest/__pycache__").mkdir(parents=True)
        (space.root / "tasks/ingest/__pycache__/step.pyc").touch()

    run_and(change, space)
    assert (space.root / "data/ingest/pool.parquet").exists()
