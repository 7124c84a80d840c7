"""A Prefect server on PostgreSQL, with two workers that share a pool."""

import contextlib
import subprocess
import sys
from datetime import datetime
from operator import itemgetter

import pytest
from ruamel.yaml import YAML

from flows.dvc.workspace import find_workspace
from tests.conftest import running_prefect
from tests.servers import PASSWORD as SECRET
from tests.workspaces import PATIENCE_S, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.services]

PREFECT = (sys.executable, "-m", "prefect", "--no-prompt")
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@pytest.fixture(scope="module")
def prefect(postgresql, tmp_path_factory):
    """Yield a Prefect server whose database is on the PostgreSQL server."""
    database = postgresql.new_database()
    url = postgresql.url(database, "postgresql+asyncpg", login=f"reader:{SECRET}")
    settings = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": url}
    with running_prefect(tmp_path_factory.mktemp("prefect-on-postgresql"), **settings) as server:
        yield server
        tables = "SELECT count(*) FROM information_schema.tables WHERE table_name = 'flow_run'"
        assert postgresql.execute(database, tables) == [(1,)]


@pytest.fixture(scope="module")
def undeployed(make_toy, prefect):
    """Return a workspace with the deployments of prefect.yaml, and one that cancels new runs."""
    space = make_toy("flows", "prefect.yaml")
    space.env.update(prefect.env)
    yaml, file = YAML(), find_workspace(space.root) / "prefect.yaml"
    content = yaml.load(file)
    nightly = content["deployments"][0]
    single = {"limit": 1, "collision_strategy": "CANCEL_NEW"}
    other = {"name": "single", "schedules": [], "triggers": [], "concurrency_limit": single}
    content["deployments"].append(dict(nightly) | other)
    yaml.dump(content, file)
    return space


@pytest.fixture(scope="module")
def space(undeployed):
    """Return the workspace after its deployments were registered."""
    undeployed.run(*PREFECT, "work-pool", "create", "selectllm", "--type", "process")
    undeployed.run(*PREFECT, "deploy", "--all")
    return undeployed


@pytest.fixture(scope="module")
def two_workers(space):
    command = [*PREFECT, "worker", "start", "--pool", "selectllm"]
    path = space.root / ".selectllm-workers.log"
    with path.open("w") as log, contextlib.ExitStack() as stack:
        for name in "ab":
            worker = subprocess.Popen(
                [*command, "--name", name], cwd=space.root, env=space.env, stdout=log, stderr=log
            )
            stack.callback(worker.wait, timeout=PATIENCE_S)
            stack.callback(worker.terminate)
        yield path


def ended(prefect, space, workers, name):
    """Start two runs of a deployment at once; return them when both have ended."""
    for _ in range(2):
        space.run(*PREFECT, "deployment", "run", f"curate/{name}")
    only = {"deployments": {"name": {"any_": [name]}}}
    created = {"flow_runs": {"state": {"type": {"any_": list(ENDED)}}}}
    runs = wait_until(
        lambda: len(found := prefect.ask("flow_runs", **only, **created)) >= 2 and found,
        within_s=900,
        evidence=workers.read_text,
        poll_s=1.0,
    )
    return sorted(runs, key=itemgetter("end_time"))


def test_a_missing_work_pool_is_named_when_deploying(undeployed):
    refused = undeployed.run(*PREFECT, "deploy", "--all", check=False)
    assert refused.returncode == 1
    said = " ".join((refused.stdout + refused.stderr).split())
    assert "references work pool 'selectllm' which does not exist" in said
    assert "Traceback" not in said


def diagnosed(space):
    """Return what `doctor` says about the deployments."""
    code = (
        "from flows.cli.deployments import deployments; "
        "print(*(f'{d.what}\\n{d.fix}' for d in deployments()))"
    )
    return space.run(sys.executable, "-c", code).stdout.splitlines()


def test_doctor_says_so_if_no_worker_runs_the_deployments(space):
    assert diagnosed(space) == [
        "Prefect: no worker runs the deployments clean, nightly, single, weekly",
        "Run `prefect worker start --pool selectllm`, or `selectllm serve`.",
    ]


def test_two_runs_at_once_of_the_nightly_deployment_wait_for_each_other(
    prefect, space, two_workers
):
    first, second = ended(prefect, space, two_workers, "nightly")
    assert [run["state"]["name"] for run in (first, second)] == ["Completed", "Completed"]
    moment = datetime.fromisoformat
    assert moment(first["end_time"]) <= moment(second["start_time"])
    assert {state for state, _ in prefect.states(first["id"]).values()} == {"Completed"}
    assert {state for state, _ in prefect.states(second["id"]).values()} == {"Cached"}
    assert space.ran() == ["first", "second"]


def test_a_deployment_that_cancels_new_runs_completes_only_one_of_two(prefect, space, two_workers):
    runs = ended(prefect, space, two_workers, "single")
    assert sorted(run["state"]["name"] for run in runs) == ["Cancelled", "Completed"]


def test_both_workers_are_registered_in_the_pool(prefect, space, two_workers):
    import httpx  # noqa: PLC0415

    url = f"{prefect.url}/work_pools/selectllm/workers/filter"

    def names():
        found = httpx.post(url, json={}, timeout=PATIENCE_S, trust_env=False).json()
        return {worker["name"] for worker in found if worker["status"] == "ONLINE"} == {"a", "b"}

    wait_until(names, evidence=two_workers.read_text, poll_s=0.5)
    assert diagnosed(space)[0] == "Prefect: 4 deployments have a worker"
