"""The project's whole graph on the sample, as a new user runs it."""

import json
import re
import shutil
import signal
import socket
from itertools import pairwise
from operator import attrgetter

import httpx
import numpy as np
import pytest

from flows.dvc.plan import plan
from tasks.lib.core.dvc_yaml import load_yaml
from tasks.lib.documents.labels import FUNNEL
from tasks.lib.documents.savings import Savings
from tasks.lib.kmeans import balanced, constrained
from tests.behaviours import HANG_S, honest, late
from tests.conftest import PROJECT, STAGE_NAMES
from tests.fake_provider import FakeProvider
from tests.workspaces import PATIENCE_S, wait_until

pytestmark = pytest.mark.slow


def started(space, *command):
    """Record the steps that a command really starts, as reported by the steps themselves."""
    events = space.root / ".selectllm" / "heard.jsonl"
    events.unlink(missing_ok=True)
    space.env["SELECTLLM_EVENTS"] = str(events)
    try:
        space.run(*command)
    finally:
        del space.env["SELECTLLM_EVENTS"]
    lines = events.read_text().splitlines() if events.exists() else []
    return [e["step"] for e in map(json.loads, lines) if e["event"] == "started"]


def hashes(space):
    """Return the path and hash of every output in dvc.lock."""
    stages = load_yaml(space.root / "dvc.lock")["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}


def test_in_the_second_run_every_stage_is_cached_and_the_savings_are_printed(done, server):
    assert set(server.last_states()) == set(STAGE_NAMES)
    saved = Savings.read(done.root / "data/measure/savings.json")
    assert saved.coverage["words"].low > saved.n_selected == 60
    assert saved.student.n_random > 60
    assert saved.saved > 0
    assert saved.sentence in (done.root / "data/report/index.html").read_text(encoding="utf-8")
    lines = done.selectllm("run").stdout.splitlines()
    assert set(server.last_states().values()) == {("Cached", "unchanged")}
    assert lines[-1] == f"report: {done.root / 'data/report/index.html'}"
    assert saved.sentence in lines
    assert done.dvc("status").stdout.strip() == "Data and pipelines are up to date."
    assert started(done, "dvc", "repro") == []


def test_the_results_are_on_the_page_of_the_run_and_announced(done, server):
    artifacts = {found["key"]: found for found in server.ask("artifacts", sort="CREATED_DESC")}
    types = {key: artifacts[key]["type"] for key in ("funnel", "bill", "savings", "report")}
    assert types == {
        "funnel": "table",
        "bill": "table",
        "savings": "markdown",
        "report": "markdown",
    }
    assert (done.root / "data/report/index.html").as_uri() in artifacts["report"]["data"]
    assert {"records": "60", "": FUNNEL["selected"]} in json.loads(artifacts["funnel"]["data"])
    query = {"filter": {"event": {"name": ["selection.ready"]}}}
    answer = httpx.post(f"{server.url}/events/filter", json=query, trust_env=False)
    event = answer.json()["events"][0]
    assert event["payload"]["results"]["selection"] == str(
        done.root / "data/choose/selected.parquet"
    )
    assert any(related["prefect.resource.role"] == "flow-run" for related in event["related"])


def test_plain_dvc_makes_the_same_bytes_in_another_clone(done, copy_clustered):
    first, later = STAGE_NAMES[0], STAGE_NAMES[STAGE_NAMES.index("cluster") + 1 :]
    # Without dependencies, the first stage runs in each workspace.
    assert started(copy_clustered, "dvc", "repro") == [first, *later]
    assert hashes(copy_clustered) == hashes(done)


def test_the_committed_lock_has_the_hashes_of_a_real_run(done):
    locked = load_yaml(PROJECT / "dvc.lock")["stages"]
    for name, stage in load_yaml(done.root / "dvc.lock")["stages"].items():
        ours = {dep["path"]: dep["md5"] for dep in stage["deps"] if dep["path"][:5] != "data/"}
        kept = {dep["path"]: dep["md5"] for dep in locked[name]["deps"] if dep["path"] in ours}
        assert kept == ours, f"dvc.lock is older than stage {name}: run `dvc repro` and commit it"


def test_the_funnel_in_readme_matches_a_real_run(done):
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```text\n(.*?)```", text, re.DOTALL)[1]
    documented = dict(reversed(line.strip().split("  ", 1)) for line in block.splitlines())
    counted = json.loads((done.root / "data/validate/result.json").read_text())["funnel"]
    real = {text: f"{counted[name]:,}" for name, text in FUNNEL.items() if counted[name]}
    assert {text: number.strip() for text, number in documented.items()} == real


def test_the_savings_in_readme_read_like_those_of_a_real_run(done):
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    documented = re.findall(r"```text\n(.*?)```", text, re.DOTALL)[1]
    real = Savings.read(done.root / "data/measure/savings.json").sentence
    numbers = re.compile(r"\d+")  # they depend on the last bits of the vectors
    assert numbers.sub("N", " ".join(documented.split())) == numbers.sub("N", real)


@pytest.mark.parametrize("n_clusters", [4, 14, 32, 63])
def test_both_solvers_find_clusters_of_the_sample_that_are_equally_tight(done, n_clusters):
    assert (
        json.loads((done.root / "data/cluster/clusters.json").read_text())["solver"]
        == "k_means_constrained"
    )
    vectors = np.load(done.root / "data/embed/vectors.npy")
    theirs, ours = (s.equal_size_kmeans(vectors, n_clusters, 0) for s in (constrained, balanced))
    assert theirs.inertia == pytest.approx(ours.inertia, rel=0.005)


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
def test_the_run_is_in_mlflow_with_datasets_metrics_and_reports(done):
    from mlflow import MlflowClient  # noqa: PLC0415  two seconds

    run = done.logged_runs()[0]
    assert run.info.run_name == "60 by offline, within"
    values = run.data.metrics
    assert 0 < values["words/coverage_mean"] < values["words/coverage_mean.random"]
    curve = MlflowClient().get_metric_history(run.info.run_id, "curve/words.coverage_mean")
    assert max(point.step for point in curve) == 60
    assert all(a.value > b.value for a, b in pairwise(sorted(curve, key=attrgetter("step"))))
    datasets = {i.tags[0].value: i.dataset for i in run.inputs.dataset_inputs}
    assert set(datasets) == {"pool", "selection"}
    assert datasets["pool"].digest == hashes(done)["data/ingest/pool.parquet"]
    assert run.data.params["llm_select.route"] == "offline"
    assert run.data.metrics["validate.funnel.selected"] == 60
    assert run.data.metrics["savings.saved"] > 0
    assert run.data.tags["git.commit"] == done.run("git", "rev-parse", "HEAD").stdout.strip()
    selected = "data/choose/selected.parquet"
    assert run.data.tags[f"dvc.{selected}"] == hashes(done)[selected]
    files = done.artifacts(run)
    assert {"validate", "llm_select", "params.yaml", "dvc.lock", "data_docs", "report"} <= files


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("llm_select.concurrency=3", []),
        ("export.formats=[csv]", ["export"]),
    ],
)
def test_a_changed_key_runs_its_stages_and_changing_it_back_runs_none(done, override, expected):
    key = override.partition("=")[0]
    section, name = key.split(".")
    old = load_yaml(done.root / "params.yaml")[section][name]
    before = hashes(done)
    done.set(override)
    assert started(done, "dvc", "repro") == expected
    done.set(f"{key}={json.dumps(old)}")
    assert started(done, "dvc", "repro") == []
    assert hashes(done) == before


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
def test_variants_are_side_by_side_in_mlflow_and_cached_when_run_again(done, server):
    words = ["compare", "-S", "compare={as_is: {}, chat: {export.formats: [chat]}}"]
    before = hashes(done)
    first = done.selectllm(*words)
    assert re.findall(r"^(as_is|chat) +done +(\S+)", first.stdout, re.MULTILINE) == [
        ("as_is", "Cached"),
        ("chat", "1"),
    ]
    assert hashes(done) == before
    assert done.dvc("status").stdout.strip() == "Data and pipelines are up to date."

    (parent,) = done.logged_runs("tags.comparison != ''")
    children = done.logged_runs(f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert {run.info.run_name for run in children} == {"as_is", "chat"}
    for run in children:
        assert {i.dataset.name for i in run.inputs.dataset_inputs} == {"pool", "selection"}
        assert run.data.metrics["validate.funnel.selected"] == 60
        assert 0 < run.data.metrics["words/coverage_mean"] < 2
        assert "60 | selected" in run.data.tags["mlflow.note.content"]
    assert parent.data.metrics["overlap/as_is chat"] == 1
    assert "| chat | export.formats=" in parent.data.tags["mlflow.note.content"]
    files = done.artifacts(parent)
    assert files == {"comparison.csv", "overlap.csv", "table.csv", "table.tex"}

    again = done.selectllm(*words)
    assert again.stdout.count("Cached") == 2
    assert len(done.logged_runs("tags.comparison != ''")) == 1
    assert server.ask("flow_runs", sort="START_TIME_DESC", limit=1)[0]["state_name"] == "Cached"


def test_dvc_shows_and_compares_metrics_and_plots(done):
    shown = json.loads(done.dvc("plots", "show", "--json").stdout)
    assert {"coverage_mean", "redundancy", "vendi"} <= set(shown["data"])
    assert "llm_select" in json.dumps(shown["data"]["coverage_mean"])
    assert "llm_select" in done.dvc("metrics", "show", "--json").stdout


def test_the_estimate_and_the_journal_are_printed_as_json(done):
    rated = ["-S", "baseline.methods=[alpagasus]", "-S", "baseline.route=chatgpt"]
    asked = ["estimate", "-S", "llm_select.votes=3", *rated, "--json"]
    quoted = json.loads(done.call(*asked).stdout)
    assert quoted["work"]["calls"] == [64, 96]
    costs = {cost["route"]: cost for cost in quoted["costs"]}
    assert next(iter(costs)) == "offline"
    assert costs["offline"]["usd"] == [0, 0]
    assert 0 < costs["chatgpt"]["usd"][0] < costs["chatgpt"]["usd"][1]
    assert "input_cost_per_token" not in costs["gemma"]["problem"]
    assert quoted["ratings"]["work"]["calls"][0] > 60
    assert 0 < quoted["ratings"]["cost"]["usd"][0] < quoted["ratings"]["cost"]["usd"][1]
    (booked,) = json.loads(done.call("journal", "sum", "--json").stdout)
    assert (booked["route"], booked["outcome"], booked["usd"]) == ("offline", "answer", 0)
    assert booked["calls"] >= 32  # other tests have asked here, too
    assert len(json.loads(done.call("journal", "list", "--limit", "5", "--json").stdout)) == 5
    kept = done.call("journal", "prune", "--before", "2099-01-01")
    assert kept.stdout.startswith(f"{booked['calls']} answers are from before")
    stale = done.call("estimate", "-S", "ingest.max_field_chars=50")
    assert stale.returncode == 2
    assert "dvc repro dedupe" in stale.stderr
    nonsense = done.call("journal", "prune", "--before", "soon")
    assert nonsense.returncode == 2
    assert "is not a date" in nonsense.stderr


def preview_with(provider, model="openai/fake"):
    """Return the words of a preview of two prompts by the provider."""
    address = f"api_base: '{provider.api_base}', api_key: none, schema: never"
    price = "input_cost_per_token: 1.0e-6, output_cost_per_token: 4.0e-6"
    route = f"models.mine={{model: {model}, {address}, {price}}}"
    return ["preview", "-S", route, "--route", "mine", "-n", "2"]


def test_a_preview_is_printed_as_json_and_changes_no_file(done):
    before = (done.root / "params.yaml").read_bytes()
    with FakeProvider() as provider:
        shown = json.loads(done.call(*preview_with(provider), "--json").stdout)
        assert len(provider.calls) == 2
    assert (shown["route"], shown["n_prompts"], shown["is_reused"]) == ("mine", 32, True)
    assert [exchange["prompt"] for exchange in shown["exchanges"]] == [1, 32]
    assert shown["new_usd"] == pytest.approx(provider.usd)
    assert shown["projection"]["calls"] == 32
    assert (done.root / "params.yaml").read_bytes() == before
    unknown = done.call("preview", "--route", "chatgtp")
    assert unknown.returncode == 2
    assert "did you mean chatgpt?" in unknown.stderr


def test_an_interrupted_preview_says_what_was_paid_and_keeps_its_answers(done):
    with FakeProvider(late(HANG_S)) as provider:
        provider.script(honest)
        asked = preview_with(provider, "openai/late")
        program = done.start(*asked)
        wait_until(lambda: len(provider.calls) == 2 or program.poll() is not None)
        program.send_signal(signal.SIGINT)
        page = program.communicate(timeout=PATIENCE_S)[0]
        assert program.returncode == 130, page
        assert "Traceback" not in page
        assert "paid now: 1 call, 0.00" in page
        assert re.search(r"interrupted calls may have cost up to 0\.0\d+ USD more\.", page)
        assert "The run reuses these answers." in page
        assert page.endswith("no finished work and no paid answer is lost.\n")
        provider.behave = honest
        again = json.loads(done.call(*asked, "--json").stdout)
    outcomes = [[call["outcome"] for call in asked["calls"]] for asked in again["exchanges"]]
    assert outcomes == [["answer"], ["lost", "answer"]]
    assert len(provider.calls) == 3


def test_an_interrupted_estimate_ends_with_130_and_no_traceback(done):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"api_base: 'http://127.0.0.1:{silent.getsockname()[1]}/v1', api_key: none"
        address += ", input_cost_per_token: 0, output_cost_per_token: 0"
        mine = f"models.mine={{model: openai/fake, schema: never, {address}}}"
        program = done.start("estimate", "-S", mine, "-S", "llm_select.route=mine")
        silent.settimeout(PATIENCE_S)
        with silent.accept()[0]:  # it asks whether the endpoint is up
            program.send_signal(signal.SIGINT)
            page = program.communicate(timeout=PATIENCE_S)[0]
    assert program.returncode == 130, page
    assert page.startswith("Interrupted.")


def test_an_estimate_does_not_need_clusters(done):
    before = json.loads(done.call("estimate", "--json").stdout)["work"]
    shutil.rmtree(done.root / "data/cluster")
    shutil.rmtree(done.root / "data/embed")
    without = done.call("estimate", "--json").stdout
    by_number = ["-S", "cluster.n_prompts=30", "-S", "cluster.candidates_per_prompt=null"]
    other = done.call("estimate", *by_number)
    done.dvc("checkout")
    after = json.loads(without)["work"]
    assert after["calls"] == before["calls"] == [32, 32]
    assert after["prompt_tokens"][1] == before["prompt_tokens"][1]
    assert after["prompt_tokens"][0] == pytest.approx(before["prompt_tokens"][0], rel=0.01)
    assert "30 prompts that rank 10 each" in other.stdout
    assert "The prompts do not exist yet" in other.stderr


def test_plan_says_what_would_run_and_why(done):
    assert {step.action for step in plan(done.root)} == {"cached"}
    with done.params_kept():
        done.set("cluster.mode=across")
        steps = json.loads(done.call("plan", "--json").stdout)
    actions = {step["stage"]: step["action"] for step in steps}
    assert set(actions) == set(STAGE_NAMES)
    assert actions["embed"] == "cached"
    assert actions["cluster"] == "run"
    assert {actions[s] for s in ("llm_select", "validate", "export")} == {"follow"}
    cluster = next(step for step in steps if step["stage"] == "cluster")
    assert cluster["reasons"] == ["cluster.mode is 'across' (was 'within')"]
