"""A whole run with a paid model behind an OpenAI endpoint: capped, completed, no key leaked."""

import json
import sqlite3
from contextlib import closing

import pyarrow.parquet as pq
import pytest

from flows.cli.console import capped as capped_words
from tasks.lib.core.dvc_yaml import read_graph
from tests.behaviours import fails
from tests.fake_provider import FakeProvider

pytestmark = pytest.mark.slow


SECRET = "Qz7vLr2mWx9kTb4n"


def leaks(root):
    """Return the files that contain 8 or more consecutive characters of the secret."""
    pieces = [SECRET[i : i + 8].encode() for i in range(len(SECRET) - 7)]
    files = [path for path in root.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if any(piece in path.read_bytes() for piece in pieces)]


def check_traces(space, n_answers):
    """Check that the last run in MLflow has the answers, the prompt and the selection."""
    import mlflow  # noqa: PLC0415  two seconds

    run = space.logged_runs()[-1]
    place = [run.info.experiment_id]
    traces = mlflow.search_traces(locations=place, run_id=run.info.run_id, return_type="list")
    assert 0 < len(traces) <= n_answers
    criteria = (space.root / "tasks/llm_select/criteria.txt").read_text()
    assert criteria.strip() in traces[0].data.spans[0].inputs["messages"][0]["content"]
    assert mlflow.genai.load_prompt("prompts:/selectllm-criteria/1").template == criteria
    assert "selectllm-criteria" in run.data.tags["mlflow.linkedPrompts"]
    dataset = mlflow.genai.datasets.get_dataset(name=run.data.tags["evaluation_dataset"])
    assert len(dataset.to_df()) == 60


def test_at_the_cap_a_run_ends_with_3_and_a_labelled_part_and_continues_with_a_higher_cap(
    quick_clustered, server
):
    """The provider repeats the key, which must appear nowhere, including Prefect and MLflow."""
    space = quick_clustered
    space.env["MY_ACCESS"] = SECRET
    price = "input_cost_per_token: 1.0e-5, output_cost_per_token: 1.0e-5"
    with FakeProvider() as provider:
        provider.script(fails(503, f"{SECRET} may try later"), fails(401, f"who is {SECRET}?"))
        address = f"api_base: '{provider.api_base}', api_key: os.environ/MY_ACCESS"
        route = f"models.mine={{model: openai/judge-1, {address}, schema: always, {price}}}"
        mine = ("-S", route, "-S", "llm_select.route=mine")
        refused = space.selectllm("run", *mine, "-S", "llm_select.max_usd=0.3", check=False)
        assert refused.returncode == 2
        assert "MY_ACCESS" in refused.stderr
        assert len(provider.calls) == 2
        capped = space.selectllm("run", "-S", "llm_select.max_usd=0.3", check=False)
        assert capped.returncode == 3, capped.stderr
        assert "partial:" in capped.stdout
        usage = json.loads((space.root / "data/llm_select/usage.json").read_text())
        assert usage["partial"] == "max_usd"
        assert 0 < usage["n_prompts"] < usage["n_prompts_planned"]
        assert sum(provider.tokens) * 1e-5 <= 0.3
        assert (space.root / "data/export").is_dir()
        check_traces(space, usage["calls"])
        assert capped_words(read_graph(space.root), space.root)  # also of a part that is Cached
        n_calls = len(provider.calls)
        params = space.root / "params.yaml"
        params.write_text(params.read_text().replace("max_usd: 0.3", "max_usd: 30"))
        whole = space.dvc("repro", "choose")
        usage = json.loads((space.root / "data/llm_select/usage.json").read_text())
        n_prompts = json.loads((space.root / "data/cluster/clusters.json").read_text())["n_prompts"]
        judged = usage["n_prompts"], usage["methods"]["llm"]
        assert (usage["partial"], *judged) == (None, n_prompts, n_prompts)
        assert n_calls < len(provider.calls) == 2 + n_prompts
    assert {call.body["model"] for call in provider.calls} == {"judge-1"}
    assert {call.body["response_format"]["type"] for call in provider.calls} == {"json_schema"}
    assert {call.headers["authorization"] for call in provider.calls} == {f"Bearer {SECRET}"}
    assert pq.read_metadata(space.root / "data/choose/selected.parquet").num_rows == 60
    with closing(sqlite3.connect(space.root / ".selectllm/journal.sqlite")) as journal:
        assert journal.execute("select count(*) from answers").fetchone()[0] == n_prompts
    printed = "".join(done.stdout + done.stderr for done in (refused, capped, whole))
    assert not any(SECRET[i : i + 8] in printed for i in range(len(SECRET) - 7))
    assert leaks(space.root) + leaks(server.home) == []
