"""MLflow's store: faults are reported, and nothing is left half-written."""

import json
import os
import sqlite3
import stat
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import mlflow
import pytest
from prefect.client.schemas.objects import State

from flows.service_checks import database_fault
from flows.stage_task import Done, Run
from flows.tracking import store
from flows.tracking.log_run import EndedRun, log_run
from flows.tracking.prompt_and_dataset import register_prompt, write_dataset
from flows.tracking.store import attempt
from flows.tracking.traces import MAX_LINKS, write_traces
from tasks.lib.core.dvc_yaml import read_graph
from tasks.lib.core.schemas import SELECTED
from tasks.lib.core.tables import write_table
from tasks.lib.documents.traced_answer import TracedAnswer
from tests.selection_desk import mixed_record
from tests.workspaces import free_port

pytestmark = [
    pytest.mark.slow,  # importing MLflow takes seconds
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """Make a store with two runs, which MLflow itself writes."""
    root = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("MLFLOW_LOGGING_LEVEL", "WARNING")
        assert attempt(root, log_two_runs) == ""
    return root / "mlflow.db"


@pytest.fixture
def root(fresh, tmp_path, monkeypatch):
    """Make a folder with its own store."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlflow.db").write_bytes(fresh.read_bytes())
    return tmp_path


def log_two_runs(store):
    with store.run("parent"), store.run("child"):
        store.mlflow.log_metric("x", 1)


def names(root):
    mlflow.set_tracking_uri(f"sqlite:///{root / 'mlflow.db'}")
    runs = mlflow.search_runs(experiment_names=["selectllm"], output_format="list")
    return sorted(run.info.run_name for run in runs)


def test_a_child_run_names_its_parent(root):
    assert attempt(root, log_two_runs) == ""
    assert names(root) == ["child", "child", "parent", "parent"]


def test_runs_that_could_not_be_finished_are_deleted(root):
    def breaks(store):
        with store.run("parent"), store.run("child"):
            raise OSError("no space left")

    assert attempt(root, breaks) == "no space left"
    assert names(root) == ["child", "parent"]


def test_a_locked_store_is_reported_within_seconds(root):
    other = sqlite3.connect(root / "mlflow.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert attempt(root, log_two_runs).startswith(f"{root / 'mlflow.db'}: database is locked\n")
    other.close()
    assert names(root) == ["child", "parent"]


def test_a_store_with_another_schema_is_reported_and_left_unchanged(root):
    with sqlite3.connect(root / "mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '0123456789ab'")
    database.close()
    before = (root / "mlflow.db").read_bytes()
    assert "out-of-date database schema (found version 0123456789ab" in attempt(root, log_two_runs)
    assert (root / "mlflow.db").read_bytes() == before


def test_another_programs_database_is_reported_and_left_unchanged(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    path = tmp_path / "mlflow.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE flow_run (id)")
    database.close()
    before = path.read_bytes()
    assert f"{path}: another program's database" in attempt(tmp_path, log_two_runs)
    assert path.read_bytes() == before
    path.write_bytes(b"no database " * 100)
    assert f"{path}: file is not a database" in attempt(tmp_path, log_two_runs)


def test_a_read_only_store_is_reported_without_sql(root, monkeypatch):
    """SQLite opens it read-only, since the root user of a container ignores permissions."""
    monkeypatch.chdir(root)  # MLflow makes a folder called file: there
    before = (root / "mlflow.db").read_bytes()
    uri = f"sqlite:///file:{root / 'mlflow.db'}?mode=ro&uri=true"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    fault = attempt(root, log_two_runs)
    assert "attempt to write a readonly database" in fault
    assert "[SQL" not in fault
    assert (root / "mlflow.db").read_bytes() == before


def in_a_run(root, work):
    """Let `work` write in a run, and return the run and the result of `work`."""
    results = []

    def log(store):
        with store.run("one") as run_id:
            results.extend([run_id, work(store, run_id)])

    assert attempt(root, log) == ""
    return mlflow.get_run(results[0]), results[1]


def traced(i, text='{"picks": [2]}'):
    question = [{"role": "system", "content": "Choose."}, {"role": "user", "content": f"topic {i}"}]
    return TracedAnswer(
        digest=f"{i:032x}", prompt=i, route="mine", model="judge-1", messages=question,
        text=text, finish_reason="stop", prompt_tokens=900, completion_tokens=8, usd=0.25,
        is_upper_bound=False, n_failed=1, began=datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC),
        duration_s=1.5,
    )  # fmt: skip


VERSION = {"name": "selectllm-criteria", "version": "1"}


def test_a_trace_has_the_question_the_reply_and_the_cost_of_an_answer(root):
    answers = [traced(i) for i in range(1, MAX_LINKS + 3)]
    run, _ = in_a_run(root, lambda store, run_id: write_traces(store, run_id, answers, VERSION))
    traces = mlflow.search_traces(run_id=run.info.run_id, return_type="list", max_results=500)
    assert len(traces) == len(answers)
    trace = next(t for t in traces if t.info.tags["mlflow.traceName"] == "prompt 7")
    (span,) = trace.data.spans
    assert span.inputs == {"messages": traced(7).messages}
    assert span.outputs["choices"][0]["message"]["content"] == '{"picks": [2]}'
    assert trace.info.request_time == 1777863721000
    assert trace.info.execution_duration == 1500
    assert (trace.info.token_usage["total_tokens"], trace.info.cost["total_cost"]) == (908, 0.25)
    assert trace.info.tags["route"] == "mine"


def test_runs_share_the_trace_of_an_answer(root):
    def work(store, run_id):
        write_traces(store, run_id, [traced(1, "é日本\u2028")], VERSION)

    runs = [in_a_run(root, work)[0] for _ in range(2)]
    found = [mlflow.search_traces(run_id=r.info.run_id, return_type="list") for r in runs]
    assert found[0][0].info.trace_id == found[1][0].info.trace_id
    assert len(mlflow.search_traces(locations=[runs[0].info.experiment_id])) == 1
    assert found[0][0].data.spans[0].outputs["choices"][0]["message"]["content"] == "é日本\u2028"


def test_the_same_text_is_one_version_of_the_prompt(root, tmp_path):
    def register(text):
        path = tmp_path / "criteria.txt"
        path.write_text(text, encoding="utf-8")
        return in_a_run(root, lambda store, run_id: register_prompt(store, run_id, path))

    odd = "- {{ it is }} {% odd %}: $candidates, $$5\n"
    texts = ["- it is clear;\n", odd, "- it is clear;\n", odd]
    done = [register(text) for text in texts]
    assert [version["version"] for _, version in done] == ["1", "2", "1", "2"]
    assert mlflow.genai.load_prompt("prompts:/selectllm-criteria/2").template == odd
    assert '"version": "2"' in done[3][0].data.tags["mlflow.linkedPrompts"]


def test_a_selection_is_one_evaluation_dataset(root, tmp_path):
    judged = {
        "prompt": 1, "slot": 1, "rank": None, "score": 1.0, "votes": 1, "method": "llm",
        "set_aside": None, "gain": 0.5, "cluster": 1, "route": "mine", "model": "judge-1",
    }  # fmt: skip
    rows = [mixed_record(i) | {name: judged[name] for name in SELECTED.names if name in judged}
            for i in range(5)]  # fmt: skip
    rows[3]["output"] = "An answer."
    path = tmp_path / "selected.parquet"
    write_table(path, rows, SELECTED)
    runs = [
        in_a_run(root, lambda store, run_id: write_dataset(store, run_id, path, "0123456789"))[0]
        for _ in range(2)
    ]
    name = "selection 01234567: 5 records"
    assert [run.data.tags["evaluation_dataset"] for run in runs] == [name, name]
    frame = mlflow.genai.datasets.get_dataset(name=name).to_df()
    assert {inputs["instruction"] for inputs in frame["inputs"]} == {r["instruction"] for r in rows}
    answers = [expected for expected in frame["expectations"] if expected]
    assert answers == [{"expected_response": "An answer."}]


def test_a_store_without_evaluation_datasets_keeps_the_run(tmp_path, monkeypatch):
    missing = []

    def log(store):
        with store.run("one"):
            with store.optional("the evaluation dataset"):
                store.mlflow.genai.datasets.create_dataset("any", store.experiment_id)
            store.mlflow.log_metric("x", 1)
        missing.extend(store.missing)

    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    assert attempt(tmp_path, log) == ""
    assert missing[0].startswith("the evaluation dataset: ")
    assert len(mlflow.search_runs(experiment_names=["selectllm"])) == 1


def test_a_server_that_stops_answering_costs_seconds(tmp_path, monkeypatch):
    """It answers the health check only; MLflow's own patience is minutes."""
    asked, is_done = [], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if self.path != "/health":
                is_done.wait()
            self.send_response(200)
            self.end_headers()

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        assert "timed out" in attempt(tmp_path, log_two_runs)
        is_done.set()
        server.shutdown()
    assert len([path for path in asked if path != "/health"]) == 2  # one retry
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


def toy_run(root, source):
    """Return an ended run of a graph with one selection and one document, which begins with {}."""
    (root / "data").mkdir(exist_ok=True)
    (root / "dvc.yaml").write_text(
        "stages: {pick: {cmd: pick, outs: [data/result.json, "
        "data/selected.parquet: {type: selection}]}}"
    )
    (root / "params.yaml").write_text(
        f"pick: {{source: {source}}}\nllm_select: {{prompt: params.yaml}}"
    )
    outs = [{"path": "data/selected.parquet", "md5": "0" * 32}]
    (root / "dvc.lock").write_text(json.dumps({"stages": {"pick": {"outs": outs}}}))
    (root / "data/result.json").write_text(f'{{"n": {len(source)}}}')
    write_table(root / "data/selected.parquet", [], SELECTED)
    state = State(type="COMPLETED", name="Cached")
    run = Run(root, f"run-of-{source}", lock=0, user_workspace=root, sets=f"source={source}")
    return EndedRun(read_graph(root), run, {"pick": Done(state, 1.5)}, lambda *_: [])


def test_a_run_that_could_not_be_recorded_is_recorded_by_the_next_one(root, monkeypatch):
    warnings = []
    monkeypatch.setattr(store, "_warn", warnings.append)
    with monkeypatch.context() as dead:
        dead.setenv("MLFLOW_TRACKING_URI", f"http://joe:secret-word@127.0.0.1:{free_port()}")
        assert log_run(toy_run(root, "first")).run_id == ""
        assert log_run(toy_run(root, "second!")).run_id == ""
    assert len(warnings) == 2
    assert "secret-word" not in str(warnings)
    assert log_run(toy_run(root, "third")).run_id, warnings
    mlflow.set_tracking_uri(f"sqlite:///{root / 'mlflow.db'}")
    recorded = {
        run.data.tags["sets"]: (
            run.data.params["pick.source"],
            run.data.metrics["pick.n"],
            run.data.tags["prefect.flow_run_id"],
        )
        for run in mlflow.search_runs(experiment_names=["selectllm"], output_format="list")
        if "sets" in run.data.tags
    }
    assert recorded == {
        "source=first": ("first", 5, "run-of-first"),
        "source=second!": ("second!", 7, "run-of-second!"),
        "source=third": ("third", 5, "run-of-third"),
    }
    assert list((root / ".selectllm/unrecorded").iterdir()) == []
    assert len(warnings) == 2


def test_a_damaged_record_of_a_run_is_a_warning(root, monkeypatch):
    warnings = []
    monkeypatch.setattr(store, "_warn", warnings.append)
    (root / ".selectllm/unrecorded/x").mkdir(parents=True)
    (root / ".selectllm/unrecorded/x/run.json").write_text("{")
    assert log_run(toy_run(root, "first"))
    assert "not in MLflow" in warnings[0]


def test_only_the_owner_can_read_a_new_store(fresh):
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o600


def test_a_writable_or_missing_database_has_no_fault(root):
    assert database_fault(root / "mlflow.db") == ""
    assert database_fault(root / "none.db") == ""
