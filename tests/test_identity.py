"""A run has one id in Prefect, its workspace and MLflow, and the doctor finds where they differ."""

import contextlib
import os
from unittest.mock import patch

import mlflow
import pytest

from flows.cli.diagnosis import Status
from flows.cli.drift import drift
from flows.identity import lock_hash, read_identity
from tests.workspaces import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]


@pytest.fixture(scope="module")
def space(make_toy, server):
    """Make a workspace in which one run has been recorded."""
    space = make_toy()
    space.env.update(server.env)
    assert findings(space) == ["last run: none is recorded here yet"]
    space.selectllm("run")
    return space


def findings(space, **env):
    """Return what `selectllm doctor` says about the last run; all but one finding are warnings."""
    with patch.dict(os.environ, space.env | env, clear=True), settings_of_environment():
        found = list(drift(space.root))
    assert all(bool(d.fix) == (d.status is Status.WARNING) for d in found)
    return [diagnosis.what for diagnosis in found]


@contextlib.contextmanager
def settings_of_environment():
    """Let Prefect read its settings from the environment as it is now."""
    from prefect.context import SettingsContext, get_settings_context  # noqa: PLC0415
    from prefect.settings import Settings  # noqa: PLC0415

    with SettingsContext(profile=get_settings_context().profile, settings=Settings()):
        yield


def test_prefect_the_workspace_and_mlflow_name_each_other(space, server):
    identity = read_identity(space.root)
    (run,) = server.ask("flow_runs", flow_runs={"id": {"any_": [identity.run_id]}})
    assert run["state"]["name"] == "Completed"
    assert identity.prefect_url == f"{server.url.removesuffix('/api')}/runs/flow-run/{run['id']}"
    assert identity.commit == space.run("git", "rev-parse", "HEAD").stdout.strip()
    assert identity.lock == lock_hash(space.root)
    only = {"flow_run_id": {"any_": [identity.run_id]}, "key": {"any_": ["identity"]}}
    (artifact,) = server.ask("artifacts", artifacts=only)
    for link in (
        identity.run_id,
        f"/runs/{identity.mlflow_run_id}",
        identity.commit,
        identity.lock,
    ):
        assert link in artifact["data"]
    mlflow.set_tracking_uri(space.env["MLFLOW_TRACKING_URI"])
    tags = mlflow.get_run(identity.mlflow_run_id).data.tags
    assert identity.tags().items() <= tags.items()
    assert f"[This run in Prefect]({identity.prefect_url})" in tags["mlflow.note.content"]
    assert findings(space) == [f"last run: Prefect, dvc.lock and MLflow agree on run {run['id']}"]


def test_the_doctor_finds_where_dvc_or_mlflow_differs_from_the_last_run(space):
    run = f"run {read_identity(space.root).run_id}"
    lock, store = space.root / "dvc.lock", space.env["MLFLOW_TRACKING_URI"]
    before = lock.read_bytes()
    lock.write_bytes(before + b"# changed\n")
    assert findings(space) == [f"last run: dvc.lock has changed since {run}"]
    lock.write_bytes(before)
    client, run_id = mlflow.MlflowClient(store), read_identity(space.root).mlflow_run_id
    client.set_tag(run_id, "dvc.lock", "0" * 32)
    assert findings(space) == [f"last run: MLflow has {run} with a different dvc.lock"]
    client.delete_run(run_id)
    for uri in (store, f"sqlite:///{space.root / 'none.db'}"):
        lacks = findings(space, MLFLOW_TRACKING_URI=uri)
        assert lacks == [f"last run: MLflow does not have {run}"]
    assert not (space.root / "none.db").exists()
    kept = space.root / ".selectllm/unrecorded/x/run.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    assert findings(space)[0] == "last run: MLflow lacks 1 runs"
    kept.unlink()
    client.restore_run(run_id)
    client.set_tag(run_id, "dvc.lock", lock_hash(space.root))


def test_a_killed_run_is_found_and_the_next_run_marks_it_as_crashed(space, server):
    running = space.start("run", "-S", "second.naps=6000")
    wait_until((space.root / "data/second/.second.txt.part").exists)
    for process in (running, *space.processes()):
        process.kill()
    running.communicate()
    wait_until(lambda: not space.processes())
    lost = (space.root / ".selectllm/flow_run").read_text()
    what = f"last run: Prefect shows run {lost} as running, but its process is gone"
    assert findings(space)[0] == what
    own_server = {"PREFECT_API_URL": "", "PREFECT_HOME": str(server.home)}
    assert findings(space, **own_server)[0] == what

    space.selectllm("run", "-S", "second.naps=1")
    (run,) = server.ask("flow_runs", flow_runs={"id": {"any_": [lost]}})
    assert (run["state"]["name"], "killed" in run["state"]["message"]) == ("Crashed", True)
    assert server.states(lost)["second"][0] == "Crashed"
    new = read_identity(space.root).run_id
    assert findings(space) == [f"last run: Prefect, dvc.lock and MLflow agree on run {new}"]
