"""The flow with the toy graph, on a real Prefect server, with real DVC and Git."""

import json
import logging
import os
import re
import signal
import time
from dataclasses import replace

import psutil
import pytest
import typer

from flows.cli.commands import app
from tests.workspaces import PATIENCE_S, free_port, wait_until

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


def test_a_run_shows_its_progress_and_what_ran_what_was_unchanged_and_what_was_restored(
    space, server
):
    unchanged, ran = ("Cached", "unchanged"), ("Completed", "ran")
    space.dvc("repro")
    assert space.ran() == ["first", "second"]
    space.selectllm("run")
    assert space.ran() == []
    assert server.last_states() == {"first": unchanged, "second": unchanged}

    lock = (space.root / "dvc.lock").read_bytes()
    space.selectllm("run", "-S", "second.naps=12")
    assert space.ran() == ["second"]
    assert server.last_states() == {"first": unchanged, "second": ran}
    artifacts = server.ask("artifacts", sort="CREATED_DESC", limit=5)
    second = next(a for a in artifacts if a["description"] == "second: 12 naps")
    assert (second["type"], float(second["data"])) == ("progress", 100.0)
    space.dvc("repro")
    assert space.ran() == []
    assert (space.root / "dvc.lock").read_bytes() != lock

    space.set("second.naps=1")
    (space.root / FIRST).unlink()
    (space.root / SECOND).write_text("tampered")
    space.selectllm("run")
    restored = ("Cached", "restored from DVC's cache")
    assert server.last_states() == {"first": restored, "second": restored}
    assert (space.root / SECOND).read_text() == "hello 1 1"
    assert space.ran() == []
    assert space.dvc("status").stdout.strip() == "Data and pipelines are up to date."


def test_a_stage_runs_again_if_its_source_changed_before_dvc_hashed_it(space):
    dvc_yaml = space.root / "dvc.yaml"
    moved = "python -m tasks.first; mv later.txt source.txt || true"
    dvc_yaml.write_text(dvc_yaml.read_text().replace("python -m tasks.first", moved))
    (space.root / "later.txt").write_text("bye")
    run = space.selectllm("run")
    assert "first runs again: the file changed while it was being read" in run.stdout + run.stderr
    assert space.ran() == ["first", "first", "second"]
    assert (space.root / SECOND).read_text() == "bye 1 1"


def test_a_mistake_in_the_data_ends_with_exit_status_two_and_no_traceback(space, server):
    failed = space.selectllm("run", "-S", "second.ending=data", check=False)
    assert failed.returncode == 2
    assert "source.txt:1: expected a number, got a word\n  Fix it." in failed.stderr
    assert "Traceback" not in failed.stdout + failed.stderr
    assert space.ran() == ["first", "second"]  # not tried again
    assert server.last_states()["second"][0] == "Failed"
    assert (space.root / FIRST).read_text() == "hello 1"
    assert not list(space.root.glob("data/*/.*part"))
    (last,) = server.ask("flow_runs", sort="START_TIME_DESC", limit=1)
    reason = "source.txt:1: expected a number, got a word\n  Fix it."
    assert (last["state"]["name"], last["state"]["message"]) == ("Failed", reason)

    def logged():
        logs = server.ask("logs", logs={"flow_run_id": {"any_": [last["id"]]}})
        is_complete = any(log["message"].startswith("Finished in state Failed") for log in logs)
        return [log for log in logs if log["level"] >= logging.ERROR] if is_complete else []

    (error,) = wait_until(logged)  # not a line for each thing that noticed it
    assert error["message"].count("\n") <= 1


def test_a_step_that_dies_is_retried_and_publishes_no_output(space, server):
    failed = space.selectllm("run", "-S", "second.ending=die", check=False)
    assert failed.returncode == 1
    assert "stage second: the step died before it could give a reason" in failed.stderr
    assert "Traceback" not in failed.stdout + failed.stderr
    assert space.ran() == ["first", "second", "second"]
    assert not (space.root / SECOND).exists()


def test_with_json_a_failed_run_prints_its_error_and_later_stages_do_not_run(space, server):
    for override, ran, what in [
        ("second.nasp=2", [], "second.nasp is unknown; did you mean naps?"),
        ("first.ending=data", ["first"], "expected a number, got a word"),
    ]:
        failed = space.selectllm("run", "--json", "-S", override, check=False)
        document = json.loads(failed.stdout)
        assert (failed.returncode, document["exit_code"]) == (2, 2)
        assert document["error"]["what"].endswith(what)
        assert document["error"]["fix"]
        assert space.ran() == ran
    assert server.last_states()["second"][0] == "NotReady"
    (last,) = server.ask("flow_runs", sort="START_TIME_DESC", limit=1)

    def logged():
        return server.ask("logs", logs={"flow_run_id": {"any_": [last["id"]]}})

    wait_until(lambda: any(log["message"].startswith("Not run, because") for log in logged()))
    (error,) = [log["message"] for log in logged() if log["level"] >= logging.ERROR]
    assert error.startswith("Finished in state Failed('source.txt:1: expected a number")


def test_a_dead_proxy_and_a_dead_mlflow_do_not_stop_a_run_and_no_password_is_stored(space, server):
    nowhere = f"http://joe:secret-word@127.0.0.1:{free_port()}"
    env = space.env | {"HTTP_PROXY": nowhere, "MLFLOW_TRACKING_URI": nowhere, "NO_PROXY": ""}
    done = replace(space, env=env).selectllm("run")
    assert space.ran() == ["first", "second"]
    output = done.stdout + done.stderr
    assert "This run continues; a later run records it once MLflow is back." in output
    assert list(space.root.glob(".selectllm/unrecorded/*/run.json"))
    (last,) = server.ask("flow_runs", sort="START_TIME_DESC", limit=1)

    def logged():
        logs = server.ask("logs", logs={"flow_run_id": {"any_": [last["id"]]}})
        return [log for log in logs if "not in MLflow: http://[hidden]@" in log["message"]]

    assert wait_until(logged)
    stored = b"".join(path.read_bytes() for path in server.home.glob("prefect.db*"))
    assert b"secret-word" not in stored + output.encode()


def test_without_prefect_a_run_stops_in_one_sentence_before_its_work(space):
    env = space.env | {"PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api"}
    stopped = replace(space, env=env).selectllm("run", check=False)
    assert stopped.returncode == 2
    assert re.search(
        r"^Prefect: the API at .* cannot be used: .*refused\n  Start", stopped.stderr, re.M
    )
    assert len(stopped.stderr.splitlines()) == 3
    assert space.ran() == []


def interrupt(space, running, number):
    """Interrupt a run, and check that it ends in seconds and leaves no process."""
    start = time.monotonic()
    os.killpg(running.pid, number)  # a terminal sends Ctrl-C to the whole group
    output = running.communicate(timeout=PATIENCE_S)[0]
    seconds = time.monotonic() - start
    assert running.returncode == 130, output
    assert output.splitlines()[-1].startswith("Interrupted. Run it again to continue"), output
    assert seconds < 40, output  # 5 on a machine of its own
    assert space.processes() == []


@pytest.mark.parametrize(
    ("where", "number"),
    [("ephemeral server", signal.SIGINT), ("own server", signal.SIGTERM)],
    ids=["ephemeral server, Ctrl-C", "own server, SIGTERM"],
)
def test_an_interrupted_run_ends_in_seconds_and_leaves_no_process(toy, server, where, number):
    if where == "own server":
        toy.env.update(server.env)
    running = toy.start("run", "-S", "first.naps=6000")
    wait_until(lambda: step_process(toy, "first"))
    interrupt(toy, running, number)
    assert not (toy.root / FIRST).exists()


def test_a_second_run_is_refused_while_one_works_and_a_run_after_an_interrupt_continues(space):
    running = space.start("run", "-S", "second.naps=6000")
    wait_until((space.root / "data/second/.second.txt.part").exists)
    params = (space.root / "params.yaml").read_bytes()
    refused = space.selectllm("run", "-S", "second.naps=2", check=False)
    assert refused.returncode == 2
    assert "another run is in progress here (process " in refused.stderr
    assert (space.root / "params.yaml").read_bytes() == params
    interrupt(space, running, signal.SIGINT)
    assert not (space.root / SECOND).exists()
    assert space.ran() == ["first", "second"]
    done = space.selectllm("run", "--json", "-S", "second.naps=1")
    assert space.ran() == ["second"]
    assert json.loads(done.stdout) == {
        "funnel": None,
        "warnings": [],
        "usage": None,
        "metrics": {},
        "savings": None,
        "partial": None,
        "results": {},
    }
    assert "params.yaml: second.naps = 1 (was 6000)" in done.stderr


def test_whatever_is_killed_the_rest_ends_and_no_partial_output_is_published(space):
    """Kill the command, DVC, the flow and the step in turn; then a whole run still works."""
    space.set("first.naps=6000")
    for victim in ("command", "dvc", "flow", "step"):
        running = space.start("run")
        step = wait_until(lambda: step_process(space, "first"))
        parents = {
            "command": running,
            "dvc": next(p for p in step.parents() if "repro" in p.cmdline()),
            "flow": next(p for p in step.parents() if "flows.curate" in p.cmdline()),
        }
        parents.get(victim, step).kill()
        output = running.communicate(timeout=PATIENCE_S)[0]
        assert running.returncode not in (0, 130), output
        if victim in ("dvc", "step"):
            assert running.returncode == 1, output
        assert wait_until(lambda: not space.processes()), victim
        assert not (space.root / FIRST).exists()
    space.selectllm("run", "-S", "first.naps=1")
    assert (space.root / SECOND).read_text() == "hello 1 1"


def test_outside_a_workspace_the_error_says_where_to_run(toy, tmp_path):
    lost = replace(toy, root=tmp_path).selectllm("run", check=False)
    assert lost.returncode == 2
    assert "found no dvc.yaml in this folder or above it" in lost.stderr


def test_every_command_accepts_json():
    def leaves(command):
        below = getattr(command, "commands", None)
        return [leaf for c in below.values() for leaf in leaves(c)] if below else [command]

    commands = leaves(typer.main.get_command(app))
    assert len(commands) > 8
    for command in commands:
        assert any("--json" in option.opts for option in command.params), command.name
