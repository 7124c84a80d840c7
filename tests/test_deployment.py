"""The nightly deployment of prefect.yaml: a real server, a real worker, a clean clone."""

import subprocess
import sys
import time

import pytest

from tests.conftest import STAGE_NAMES

pytestmark = pytest.mark.slow


def test_a_worker_runs_the_deployment_in_a_clean_clone(clone, server):
    space = clone("deployed")
    space.env.update(server.env)
    space.set("baseline.methods=[random]", "baseline.n_seeds=2")  # quick ones

    def prefect(*words):
        return space.run(sys.executable, "-m", "prefect", "--no-prompt", *words)

    prefect("work-pool", "create", "selectllm", "--type", "process", "--overwrite")
    prefect("deploy", "--all")
    (deployment,) = server.ask("deployments")
    assert deployment["name"] == "nightly"
    assert deployment["schedules"][0]["schedule"]["cron"] == "0 2 * * *"
    schema = deployment["parameter_openapi_schema"]["properties"]
    assert set(schema) == {"source", "budget", "route", "override"}
    assert all(parameter["description"] for parameter in schema.values())

    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "selectllm"]
    with (space.root / ".selectllm-worker.log").open("w") as log:
        worker = subprocess.Popen(command, cwd=space.root, env=space.env, stdout=log, stderr=log)
        try:
            prefect("deployment", "run", "curate/nightly", "--param", "budget=12")
            state = _wait_for_end(server, deployment["id"])
        finally:
            worker.terminate()
            worker.wait(timeout=30)
    assert state["name"] == "Completed", (space.root / ".selectllm-worker.log").read_text()
    states = server.last_states()
    assert set(states) == set(STAGE_NAMES)
    assert {name for name, _ in states.values()} == {"Completed"}
    assert space.dvc("status").stdout.strip() == "Data and pipelines are up to date."


def _wait_for_end(server, deployment_id, within_s=240):
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        runs = server.ask("flow_runs", deployments={"id": {"any_": [deployment_id]}})
        by_hand = [run["state"] for run in runs if not run["auto_scheduled"]]
        if by_hand and by_hand[0]["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            return by_hand[0]
        time.sleep(1)
    raise AssertionError("the deployment did not end in time")
