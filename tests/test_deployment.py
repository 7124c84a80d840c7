"""The nightly deployment of prefect.yaml over the toy graph: a real server and a real worker."""

import contextlib
import io
import json
import logging
import re
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from operator import itemgetter

import httpx
import pytest
from ruamel.yaml import YAML

from flows.serve import read_deployments
from tasks.lib.core.errors import ParamError, StageFailed
from tests.workspaces import PATIENCE_S, PROJECT, wait_until

pytestmark = pytest.mark.slow

SOON = {"interval": 10, "slug": "soon", "active": True}
PARAMETERS = {
    "override": ["second.naps=2"]
}  # of all runs: the nightly one may come due while we wait
BODY = (
    "deployments: [{{name: x, entrypoint: '{path}', description: y, tags: [], parameters: {{}}, "
    "concurrency_limit: {{limit: 1}}, schedules: [{{slug: s, active: true, cron: {cron}}}]}}]"
)
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@pytest.fixture(scope="module")
def space(make_toy, server):
    """Make a workspace whose nightly deployment has a second schedule, due every 10 s."""
    space = make_toy("flows", "prefect.yaml")
    space.env.update(server.env)
    yaml, file = YAML(), space.root / "prefect.yaml"
    content = yaml.load(file)
    content["deployments"][0]["schedules"].append(SOON)
    content["deployments"][0]["parameters"] = PARAMETERS
    yaml.dump(content, file)
    return space


@pytest.fixture(scope="module")
def deployment(space, server):
    """Deploy as README.md says; delete the deployment afterwards, so that it stops making runs."""
    prefect = (sys.executable, "-m", "prefect", "--no-prompt")
    space.run(*prefect, "work-pool", "create", "selectllm", "--type", "process", "--overwrite")
    space.run(*prefect, "deploy", "--all")
    deployments = {found["name"]: found for found in server.ask("deployments")}
    assert set(deployments) == {"nightly", "clean", "weekly"}
    yield deployments["nightly"]
    for found in deployments.values():
        url = f"{server.url}/deployments/{found['id']}"
        wait_until(
            lambda url=url: httpx.delete(url, timeout=PATIENCE_S, trust_env=False).is_success
        )


def test_the_deployment_keeps_its_nightly_schedule_and_describes_each_parameter(deployment):
    assert deployment["name"] == "nightly"
    assert deployment["entrypoint"] == "flows/curate.py:curate"
    crons = {s["slug"]: s["schedule"].get("cron") for s in deployment["schedules"]}
    assert crons == {"nightly": "0 2 * * *", "soon": None}
    schema = deployment["parameter_openapi_schema"]["properties"]
    assert set(schema) == {"source", "budget", "route", "override", "commit"}
    assert all(parameter["description"] for parameter in schema.values())


def test_serve_makes_the_deployments_that_prefect_deploy_makes(space, server, deployment):
    with contextlib.chdir(space.root):
        served = {found.name: found for found in read_deployments(space.root)}
    assert set(served) == {"nightly", "clean", "weekly"}
    nightly = served["nightly"]
    for name in ("description", "tags", "parameters"):
        assert getattr(nightly, name) == deployment[name], name
    assert nightly.entrypoint == "flows.curate.curate"
    crons = {s["slug"]: s["schedule"].get("cron") for s in deployment["schedules"]}
    assert {s.slug: getattr(s.schedule, "cron", None) for s in nightly.schedules} == crons
    assert nightly.concurrency_limit == deployment["global_concurrency_limit"]["limit"] == 1
    assert [trigger.expect for trigger in nightly.triggers] == [{"pool.changed"}]
    (automation,) = server.ask("automations")
    assert automation["trigger"]["expect"] == ["pool.changed"]


FAULTS = [
    ("deployments: []", "expected deployments"),
    ("deployments: [{name: x}]", "deployments.x: the key 'entrypoint' is missing"),
    ("deployments: [1]", "deployments[0]"),
    ("deployments: [{entrypoint: y}]", "deployments[0]: the key 'name' is missing"),
    (BODY.format(cron="'0 25 * * *'", path="flows/curate.py:curate"), "cron"),
    (BODY.format(cron="'0 2 * * *'", path="flows/curate.py:absent"), "absent"),
    (BODY.format(cron="'0 2 * * *'", path="flows/absent.py:curate"), "absent"),
]


@pytest.mark.parametrize(("text", "words"), FAULTS)
def test_a_mistake_in_prefect_yaml_is_one_sentence(text, words, tmp_path, monkeypatch):
    monkeypatch.chdir(PROJECT)
    (tmp_path / "prefect.yaml").write_text(text)
    with pytest.raises(ParamError) as refused:
        read_deployments(tmp_path)
    assert words in str(refused.value)
    assert len(str(refused.value).splitlines()) == 2


@pytest.mark.parametrize("logger", ["prefect.engine", "prefect.flow_runs"])
@pytest.mark.parametrize(
    ("error", "logged"),
    [
        (ParamError("x is unknown", where="params.yaml", fix="Correct it."), "params.yaml: x is"),
        (StageFailed("x is unknown", where="a.csv", fix="Correct it."), ""),
        (ValueError("a bug"), "Traceback"),
    ],
)
def test_a_worker_logs_a_mistake_in_one_line_and_a_bug_with_its_traceback(
    logger, error, logged, monkeypatch
):
    """Prefect's engine logs like this in the process of a scheduled run."""
    named, stream = logging.getLogger(logger), io.StringIO()
    monkeypatch.setattr(named, "handlers", [logging.StreamHandler(stream)])
    monkeypatch.setattr(named, "propagate", False)
    try:
        raise error
    except type(error):
        named.exception("Engine execution exited with unexpected exception")
    assert logged in stream.getvalue()
    assert ("Traceback" in stream.getvalue()) is (logged == "Traceback")
    assert bool(stream.getvalue()) is bool(logged)


@pytest.fixture
def webhook():
    """Yield the URL of a webhook on loopback, and the bodies that it has got."""
    bodies = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hooks/secret-word", bodies
        server.shutdown()


def test_a_run_that_reaches_its_cap_or_fails_calls_the_webhook(space, server, webhook):
    url, bodies = webhook
    set_up = replace(space, env=space.env | {"SELECTLLM_WEBHOOK": url}).run
    for _ in range(2):  # the second time replaces the first
        done = set_up(sys.executable, "-m", "flows.notify")
    assert "secret-word" not in done.stdout + done.stderr
    flow = {"prefect.resource.role": "flow", "prefect.resource.name": "curate"}
    state = {"type": "FAILED", "name": "Failed", "message": 'source.txt:1: expected "x"'}
    events = [
        {
            "event": name, "id": str(uuid.uuid4()), "payload": payload,
            "occurred": datetime.now(UTC).isoformat(),
            "resource": {"prefect.resource.id": "some.run", "prefect.resource.name": "tidy-eel"},
            "related": [flow | {"prefect.resource.id": "prefect.flow.1"}],
        }
        for name, payload in [
            ("cap.reached", {"reason": "5 of 9 prompts"}),
            ("prefect.flow-run.Failed", {"validated_state": state}),
            ("prefect.flow-run.Completed", {}),
        ]
    ]  # fmt: skip
    sent = httpx.post(f"{server.url}/events", json=events, timeout=PATIENCE_S, trust_env=False)
    sent.raise_for_status()
    wait_until(lambda: len(bodies) >= 2, evidence=lambda: f"{bodies}{server.log}")
    assert sorted(body["text"] for body in bodies) == [
        "SelectLLM: cap.reached in tidy-eel\n5 of 9 prompts",
        'SelectLLM: prefect.flow-run.Failed in tidy-eel\nsource.txt:1: expected "x"',
    ]


def _register_from_another_folder(space):
    """Register the deployments of a workspace from a copy of it, as `serve` there would."""
    copy = space.root.parent / "theirs"
    shutil.copytree(space.root, copy, ignore=shutil.ignore_patterns(".selectllm", "data"))
    (copy / "theirs.txt").touch()
    register = "from pathlib import Path; import flows.serve as s; "
    register += "[found.apply() for found in s.read_deployments(Path.cwd())]"
    replace(space, root=copy).run(sys.executable, "-c", register)


def test_an_interrupted_serve_ends_its_run_in_prefect_and_keeps_what_was_computed(make_toy, server):
    space = make_toy("flows", "prefect.yaml")
    space.env.update(server.env)
    yaml, file = YAML(), space.root / "prefect.yaml"
    content = yaml.load(file)
    name = f"served-{uuid.uuid4()}"
    long = content["deployments"][0] | {"name": name, "schedules": [], "triggers": []}
    content["deployments"] = [long | {"parameters": {"override": ["second.naps=6000"]}}]
    yaml.dump(content, file)
    _register_from_another_folder(space)
    serving = space.start("serve")
    find = {"name": {"any_": [name]}}
    (served,) = wait_until(lambda: server.ask("deployments", deployments=find))
    url = f"{server.url}/deployments/{served['id']}"
    made = httpx.post(f"{url}/create_flow_run", json={}, timeout=PATIENCE_S, trust_env=False)
    wait_until(lambda: [*space.root.glob(".selectllm/runs/*/**/second/.second.txt.part")])
    assert not (
        space.root / "theirs.txt"
    ).exists()  # Prefect would copy the folder of whoever registered first
    serving.send_signal(signal.SIGTERM)
    output = serving.communicate(timeout=PATIENCE_S)[0]
    assert serving.returncode == 130, output
    assert space.processes() == []
    (run,) = server.ask("flow_runs", flow_runs={"id": {"any_": [made.json()["id"]]}})
    assert run["state"]["name"] == "Crashed", output
    (place,) = space.root.glob(f".selectllm/runs/*{space.root}")
    assert (place / "data/first/first.txt").read_text() == "hello 1"
    httpx.delete(url, timeout=PATIENCE_S, trust_env=False).raise_for_status()


def test_scheduled_runs_start_by_themselves_and_complete_one_at_a_time(space, server, deployment):
    moment = datetime.fromisoformat
    schedule_ids = {schedule["id"] for schedule in deployment["schedules"]}
    with _worker(space) as worker_log:
        wait_until(
            lambda: {run["created_by"]["id"] for run in _runs(server, deployment)} == schedule_ids,
            within_s=180,
            evidence=lambda: server.log,
            poll_s=1.0,
        )
        wait_until(
            lambda: len(_runs(server, deployment, *ENDED)) >= 2,
            within_s=840,
            evidence=worker_log.read_text,
            poll_s=1.0,
        )
        first, second = sorted(_runs(server, deployment, *ENDED), key=itemgetter("end_time"))[:2]
    for run in (first, second):
        assert run["auto_scheduled"]
        assert run["parameters"] == PARAMETERS
        assert run["state"]["name"] == "Completed", worker_log.read_text()
    assert moment(first["end_time"]) <= moment(second["start_time"])
    states = server.states(first["id"])
    assert states == {"first": ("Completed", "ran"), "second": ("Completed", "ran")}
    assert set(server.states(second["id"]).values()) == {("Cached", "unchanged")}
    (own,) = space.root.glob(".selectllm/runs/naps-2-*")  # parameters are this run's alone
    there = replace(space, root=own / str(space.root)[1:])
    assert there.dvc("status").stdout.strip() == "Data and pipelines are up to date."
    assert "naps: 2" not in (space.root / "params.yaml").read_text()
    assert not [line for line in server.log.splitlines() if re.search("ERROR.*schedul", line)]


@contextlib.contextmanager
def _worker(space):
    """Run a worker, yield the path of its log, and stop the worker and the runs that it started."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "selectllm"]
    path = space.root / ".selectllm-worker.log"
    with path.open("w") as log:
        worker = subprocess.Popen(command, cwd=space.root, env=space.env, stdout=log, stderr=log)
    try:
        yield path
    finally:
        worker.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(timeout=PATIENCE_S)
        for process in space.processes():  # a third run may have started
            process.kill()


def _runs(server, deployment, *state_types):
    """Return the deployment's runs, optionally only those in the given state types."""
    states = {"state": {"type": {"any_": state_types}}} if state_types else {}
    only = {"id": {"any_": [deployment["id"]]}}
    return server.ask("flow_runs", deployments=only, flow_runs=states)
