"""Parameters of a flow run apply only to that run; `selectllm run -S` edits params.yaml."""

import json
import shutil
import sys
from dataclasses import replace

import psutil
import pytest

from flows.dvc.run_parameters import as_overrides, folder_name, own_workspace
from tasks.lib.core.errors import ParamError
from tests.test_compare import kept, made
from tests.workspaces import wait_until

CALL = """
import json, sys
from flows.curate import curate
state = curate(**json.loads(sys.argv[1]), return_state=True)
sys.exit(f"{state.name}: {state.message}" if state.is_failed() else 0)
"""
SECOND = "data/second/second.txt"


def call(space, check=True, **parameters):
    """Run the flow as a deployment does, with these parameters."""
    return space.run(sys.executable, "-c", CALL, json.dumps(parameters), check=check)


def own(space, *sets):
    """Return the workspace of a run that sets these keys."""
    return space.root / ".selectllm/runs" / folder_name(sets) / str(space.root)[1:]


# What parameters become


@pytest.mark.slow
def test_a_value_reaches_params_yaml_unchanged_and_none_is_left_out(toy):
    odd = "a #1: é\N{GRINNING FACE}.txt"
    (toy.root / odd).write_text("odd")
    sets = as_overrides({"first.source": odd, "second.source": "null", "second.naps": None})
    place, changes = own_workspace(toy.root, sets)
    assert [(change.key, change.new) for change in changes] == [
        ("first.source", odd),
        ("second.source", "null"),
    ]
    assert (place / odd).read_text() == "odd"
    assert as_overrides({"llm_select.budget": [30, 60]}) == ["llm_select.budget=[30, 60]"]


def test_each_set_of_parameters_has_a_folder_named_after_it():
    sets = [["a.budget=30"], ["a.budget=31"], ["b.budget=30"], ["a.budget=30", "a.x=1"]]
    names = [folder_name(overrides) for overrides in sets]
    assert len(set(names)) == len(names)
    assert names[0].startswith("budget-30-")
    assert names == [folder_name(overrides) for overrides in sets]
    assert folder_name(["m.x={api: 'http://../y', z: " + "w" * 300 + "}"]).count("/") == 0
    assert all(len(name) < 60 for name in [*names, folder_name(["m.x=" + "é" * 300])])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("second.nasp=3", "second.nasp is unknown; did you mean naps?"),
        ("second.naps=-1", "second.naps: input should be greater than or equal to 0"),
        ("second.naps", "expected key=value"),
    ],
)
def test_refused_parameters_leave_nothing_behind(toy, override, words):
    before = kept(toy)
    with pytest.raises(ParamError) as refused:
        own_workspace(toy.root, ["first.naps=2", override])
    assert words in str(refused.value)
    assert kept(toy) == before
    assert not made(toy)


@pytest.mark.slow
def test_outputs_that_dvc_pull_fetched_are_not_made_again(toy):
    toy.dvc("repro")
    shutil.rmtree(toy.root / ".dvc/cache/runs")  # `dvc pull` brings files, not this
    place, _ = own_workspace(toy.root, ["second.naps=2"])
    there = replace(toy, root=place)
    there.dvc("repro")
    assert there.ran() == ["second"]


# Over the toy graph, on a real Prefect server, with real DVC and Git


@pytest.fixture
def space(toy, server):
    toy.env.update(server.env)
    return toy


@pytest.mark.slow
def test_the_next_run_without_parameters_uses_the_unchanged_params_yaml(space, server):
    before = kept(space)
    two = own(space, "second.naps=2")
    call(space, override=["second.naps=2"])
    assert kept(space) == before
    assert (two / SECOND).read_text() == "hello 1 2"
    assert {name for name, _ in server.last_states().values()} == {"Completed"}

    call(space)
    assert (space.root / SECOND).read_text() == "hello 1 1"
    assert space.ran() == ["second"]  # the run with parameters had made the first
    assert "naps: 2" not in (space.root / "params.yaml").read_text()
    assert space.dvc("status").stdout.strip() == "Data and pipelines are up to date."
    before = kept(space)

    call(space, override=["second.naps=2"])
    assert (two / SECOND).read_text() == "hello 1 2"
    assert set(server.last_states().values()) == {("Cached", "unchanged")}
    assert kept(space) == before


@pytest.mark.slow
def test_a_refused_parameter_fails_the_run_before_any_stage_and_without_a_traceback(space, server):
    failed = call(space, override=["second.nasp=2"], check=False)
    assert "second.nasp is unknown; did you mean naps?" in failed.stderr
    assert "Traceback" not in failed.stdout + failed.stderr
    assert server.last_states() == {}
    assert not (space.root / ".selectllm/runs").exists()


@pytest.mark.slow
def test_a_killed_run_does_not_affect_other_runs_and_continues_when_repeated(space):
    before = kept(space)
    long = ["first.naps=20", "second.naps=20"]
    place = own(space, *long)
    command = [sys.executable, "-c", CALL, json.dumps({"override": long})]
    for stage in ("first", "second"):
        with psutil.Popen(command, cwd=space.root, env=space.env) as running:
            wait_until((place / f"data/{stage}/.{stage}.txt.part").exists)
            for process in (running, *space.processes()):
                process.kill()
    assert (place / "ran.log").read_text().split() == ["first", "first", "second"]
    assert kept(space) == before

    call(space)
    assert (space.root / SECOND).read_text() == "hello 1 1"
    assert not (place / SECOND).exists()
    (place / "ran.log").unlink()
    call(space, override=long)
    assert (place / "ran.log").read_text().split() == ["second"]
    assert (place / SECOND).exists()
    assert (space.root / SECOND).read_text() == "hello 1 1"
