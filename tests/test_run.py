"""The flow with the toy graph, on a real Prefect server, with real DVC and Git."""

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
import typer

from flows.cli.app import app
from tests.workspaces import PATIENCE_S, wait_until

pytestmark = pytest.mark.slow

FIRST, SECOND = "data/first/first.txt", "data/second/second.txt"


@pytest.fixture
def space(toy, server):
    toy.env.update(server.env)
    return toy


def step_process(space, name):
    """Return the Python process of a step that runs in the workspace, if any."""
    for process in space.processes():
        try:
            if process.cmdline()[-1] == f"tasks.{name}":
                return process
        except (psutil.Error, IndexError):
            continue
    return None


def test_states_show_what_ran_what_was_unchanged_and_what_was_restored(space, server):
    unchanged, ran = ("Cached", "unchanged"), ("Completed", "ran")
    space.dvc("repro")
    assert space.ran() == ["first", "second"]
    space.selectllm("run")
    assert space.ran() == []
    assert server.last_states() == {"first": unchanged, "second": unchanged}

    lock = (space.root / "dvc.lock").read_bytes()
    space.selectllm("run", "-S", "second.naps=2")
    assert space.ran() == ["second"]
    assert server.last_states() == {"first": unchanged, "second": ran}
    space.dvc("repro")
    assert space.ran() == []
    assert (space.root / "dvc.lock").read_bytes() != lock

    space.set("second.naps=1")
    (space.root / FIRST).unlink()
    space.selectllm("run")
    restored = ("Cached", "restored from DVC's cache")
    assert server.last_states() == {"first": restored, "second": restored}
    (space.root / SECOND).write_text("tampered")
    space.selectllm("run")
    assert server.last_states() == {"first": unchanged, "second": restored}
    assert (space.root / SECOND).read_text() == "hello 1 1"
    assert space.ran() == []
    assert space.dvc("status").stdout.strip() == "Data and pipelines are up to date."


def test_a_mistake_in_the_data_ends_with_exit_status_two_and_no_traceback(space, server):
    failed = space.selectllm("run", "-S", "second.ending=data", check=False)
    assert failed.returncode == 2
    assert "source.txt:1: expected a number, got a word\n  Fix it." in failed.stderr
    assert "Traceback" not in failed.stdout + failed.stderr
    assert space.ran() == ["first", "second"]  # not tried again
    assert server.last_states()["second"][0] == "Failed"
    assert (space.root / FIRST).read_text() == "hello 1"
    assert not list(space.root.glob("data/*/.*part"))


def test_a_step_that_dies_is_retried_and_publishes_no_output(space, server):
    failed = space.selectllm("run", "-S", "second.ending=die", check=False)
    assert failed.returncode == 1
    assert "stage second: the step died before it could give a reason" in failed.stderr
    assert "Traceback" not in failed.stdout + failed.stderr
    assert space.ran() == ["first", "second", "second"]
    assert not (space.root / SECOND).exists()


def test_stages_after_a_failed_one_do_not_run(space, server):
    failed = space.selectllm("run", "-S", "first.ending=data", check=False)
    assert failed.returncode == 2
    assert space.ran() == ["first"]
    assert server.last_states()["second"][0] == "NotReady"


def test_progress_and_log_lines_reach_the_flow_run(space, server):
    space.selectllm("run", "-S", "first.naps=12")
    artifacts = server.ask("artifacts", sort="CREATED_DESC", limit=5)
    first = next(a for a in artifacts if a["description"] == "first: 12 naps")
    assert first["type"] == "progress"
    assert float(first["data"]) == 100.0
    assert wait_until(lambda: [log for log in _logs(server) if "python -m tasks.first" in log])


def _logs(server):
    return [log["message"] for log in server.ask("logs", sort="TIMESTAMP_DESC", limit=200)]


def test_a_second_run_in_the_same_workspace_is_refused(space):
    running = space.start("run", "-S", "first.naps=6000")
    wait_until(lambda: step_process(space, "first"))
    params = (space.root / "params.yaml").read_bytes()
    refused = space.selectllm("run", "-S", "second.naps=2", check=False)
    assert refused.returncode == 2
    assert "another run is working here (process " in refused.stderr
    assert (space.root / "params.yaml").read_bytes() == params
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=PATIENCE_S)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize("where", ["ephemeral server", "own server"])
def test_an_interrupted_run_ends_in_seconds_and_leaves_no_process(toy, server, number, where):
    if where == "own server":
        toy.env.update(server.env)
    running = toy.start("run", "-S", "first.naps=6000")
    wait_until(lambda: step_process(toy, "first"))
    start = time.monotonic()
    os.killpg(running.pid, number)  # a terminal sends Ctrl-C to the whole group
    output = running.communicate(timeout=PATIENCE_S)[0]
    seconds = time.monotonic() - start
    assert running.returncode == 130, output
    assert seconds < 40, output  # 5 on a machine of its own
    assert toy.processes() == []
    assert not (toy.root / FIRST).exists()


def test_the_run_after_an_interrupt_continues(space):
    running = space.start("run", "-S", "second.naps=6000")
    wait_until(lambda: step_process(space, "second"))
    os.killpg(running.pid, signal.SIGINT)
    running.communicate(timeout=PATIENCE_S)
    space.ran()
    space.selectllm("run", "-S", "second.naps=1")
    assert space.ran() == ["second"]


def test_when_dvc_is_killed_its_step_ends_and_no_second_writer_starts(space):
    running = space.start("run", "-S", "first.naps=6000")
    step = wait_until(lambda: step_process(space, "first"))
    dvc = next(p for p in step.parents() if "repro" in p.cmdline())
    dvc.kill()
    output = running.communicate(timeout=PATIENCE_S)[0]
    assert running.returncode == 1, output
    assert wait_until(lambda: not step.is_running())
    assert space.processes() == []
    assert not (space.root / FIRST).exists()
    space.selectllm("run", "-S", "first.naps=1")
    assert (space.root / SECOND).read_text() == "hello 1 1"


def test_when_the_flow_is_killed_everything_it_started_ends(space):
    running = space.start("run", "-S", "first.naps=6000")
    wait_until(lambda: step_process(space, "first"))
    flow = next(p for p in psutil.Process(running.pid).children() if "flows.curate" in p.cmdline())
    flow.kill()
    running.communicate(timeout=PATIENCE_S)
    assert running.returncode not in (0, 130)
    assert wait_until(lambda: not space.processes())
    space.selectllm("run", "-S", "first.naps=1")
    assert (space.root / SECOND).read_text() == "hello 1 1"


def test_when_the_step_is_killed_no_partial_output_is_published(space):
    space.set("first.naps=6000", "first.ending=well")
    running = space.start("run")
    step = wait_until(lambda: step_process(space, "first"))
    step.kill()
    running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 1
    assert not (space.root / FIRST).exists()
    space.selectllm("run", "-S", "first.naps=1")
    assert (space.root / FIRST).read_text() == "hello 1"


def test_outside_a_workspace_the_error_says_where_to_run(space, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    object.__setattr__(space, "root", Path(elsewhere))
    lost = space.selectllm("run", check=False)
    assert lost.returncode == 2
    assert "found no dvc.yaml in this folder or above it" in lost.stderr


def test_with_json_stdout_has_one_document_for_a_run_or_its_error(space):
    done = space.selectllm("run", "--json", "-S", "second.naps=2")
    assert json.loads(done.stdout) == {
        "funnel": None,
        "warnings": [],
        "usage": None,
        "metrics": {},
        "savings": None,
        "partial": None,
        "results": {},
    }
    assert "params.yaml: second.naps = 2 (was 1)" in done.stderr
    for override, exit_code, what in [
        ("second.nasp=2", 2, "second.nasp is unknown; did you mean naps?"),
        ("second.ending=data", 2, "expected a number, got a word"),
    ]:
        failed = space.selectllm("run", "--json", "-S", override, check=False)
        document = json.loads(failed.stdout)
        assert (failed.returncode, document["exit_code"]) == (exit_code, exit_code)
        assert document["error"]["what"].endswith(what)
        assert document["error"]["fix"]


def test_every_command_accepts_json():
    def leaves(command):
        below = getattr(command, "commands", None)
        return [leaf for c in below.values() for leaf in leaves(c)] if below else [command]

    commands = leaves(typer.main.get_command(app))
    assert len(commands) > 8
    for command in commands:
        assert any("--json" in option.opts for option in command.params), command.name
