"""A run on shared services: journal and MLflow on PostgreSQL, three kinds of DVC remotes."""

import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from flows.dvc.workspace import find_workspace
from tasks.lib.journal.location import PASSWORD
from tests.fake_provider import FakeProvider
from tests.servers import MLFLOW_HOST, Remote, running_mlflow, running_s3, running_ssh
from tests.servers import PASSWORD as SECRET
from tests.workspaces import Workspace, free_port

pytestmark = [pytest.mark.slow, pytest.mark.services]


@pytest.fixture(scope="module")
def space(clustered, server, postgresql, tmp_path_factory):
    """Yield a workspace after a run that used a shared journal and an MLflow server."""
    root = tmp_path_factory.mktemp("machine") / "clone"
    shutil.copytree(clustered.root, root)
    space = Workspace(find_workspace(root), clustered.env | server.env | {PASSWORD: SECRET})
    tracking = postgresql.url(postgresql.new_database(), login=f"reader:{SECRET}")
    journal = postgresql.url(postgresql.new_database())
    with (
        FakeProvider() as provider,
        running_mlflow(tmp_path_factory.mktemp("mlflow"), tracking) as url,
    ):
        space.env["MLFLOW_TRACKING_URI"] = url
        address = f"api_base: '{provider.api_base}', api_key: none"
        price = "input_cost_per_token: 1.0e-7, output_cost_per_token: 1.0e-7"
        route = f"{{model: openai/judge-1, {address}, schema: always, {price}}}"
        space.set(f"models.mine={route}", "llm_select.route=mine", f"llm_select.journal={journal}")
        space.selectllm("run")
        space.run("git", "add", "--all")
        space.run("git", "commit", "-qm", "Select")
        yield space


def test_a_run_is_recorded_on_an_mlflow_server_with_its_artifacts(space):
    url = f"{space.env['MLFLOW_TRACKING_URI']}/api/2.0"
    (experiment,) = (
        httpx.get(f"{url}/mlflow/experiments/get-by-name", params={"experiment_name": "selectllm"})
        .json()
        .values()
    )
    (run,) = httpx.post(
        f"{url}/mlflow/runs/search", json={"experiment_ids": [experiment["experiment_id"]]}
    ).json()["runs"]
    assert run["info"]["status"] == "FINISHED"
    path = run["info"]["artifact_uri"].removeprefix("mlflow-artifacts:")
    page = httpx.get(
        f"{url}/mlflow-artifacts/artifacts{path}/report/index.html", headers={"Host": MLFLOW_HOST}
    )
    assert page.content == (space.root / "data/report/index.html").read_bytes()


def test_the_password_of_the_journal_is_in_no_file_of_the_workspace(space):
    doctor = space.selectllm("doctor", check=False)
    assert SECRET not in doctor.stdout + doctor.stderr
    assert "journal: the database" in doctor.stdout + doctor.stderr
    files = [path for path in space.root.rglob("*") if path.is_file()]
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    assert not (space.root / ".selectllm/journal.sqlite").exists()


@contextmanager
def local(folder):
    yield Remote(str(folder / "cache"))


REMOTES = {"local": local, "s3": running_s3, "ssh": running_ssh}


@pytest.mark.parametrize("kind", REMOTES)
def test_a_commit_and_a_remote_are_enough_to_prove_a_run_in_an_empty_clone(space, kind, tmp_path):
    with ExitStack() as stack:
        remote = stack.enter_context(REMOTES[kind](tmp_path))
        there = replace(space, env=space.env | remote.env)
        there.dvc("remote", "add", "--default", "--force", "storage", remote.url)
        for name, value in remote.options.items():
            there.dvc("remote", "modify", "storage", name, value)
        there.run("git", "commit", "-qam", f"Use the {kind} remote")
        there.dvc("push")
        clone = replace(there, root=tmp_path / "clone")
        replace(there, root=tmp_path).run("git", "clone", "-q", str(space.root), "clone")
        clone.dvc("pull")
        proof = clone.selectllm("verify")
        assert "proven" in proof.stdout.lower()
        assert clone.dvc("repro").stdout.strip().endswith("Data and pipelines are up to date.")
        assert clone.dvc("status").stdout.strip() == "Data and pipelines are up to date."


def test_an_answer_bought_on_one_machine_is_not_bought_on_another(space, tmp_path):
    replace(space, root=tmp_path).run("git", "clone", "-q", str(space.root), "clone")
    clone = replace(space, root=tmp_path / "clone")
    ballots = Path("data/llm_select/ballots.parquet")
    shutil.copytree(space.root / "data/ingest", clone.root / "data/ingest")
    shutil.copytree(space.root / "data/dedupe", clone.root / "data/dedupe")
    shutil.copytree(space.root / "data/cluster", clone.root / "data/cluster")
    clone.set("models.mine.api_base=http://127.0.0.1:9")  # no call could succeed
    clone.run("python", "-m", "tasks.llm_select")
    assert (clone.root / ballots).read_bytes() == (space.root / ballots).read_bytes()


def test_an_unreachable_journal_stops_a_run_before_any_work_in_one_sentence(space):
    with space.params_kept():
        space.set(f"llm_select.journal=postgresql://reader@127.0.0.1:{free_port()}/x")
        refused = space.selectllm("run", check=False)
    assert refused.returncode == 2
    assert "Connection refused" in refused.stderr
    assert "Traceback" not in refused.stderr
