"""A flow run with its own budget, over the project's graph on the sample."""

import pyarrow.parquet as pq
import pytest

from tests.conftest import STAGE_NAMES
from tests.test_run_parameters import call, own

SELECTED = "data/choose/selected.parquet"


def selected(root):
    """Return the ids of a selection, in order."""
    return pq.read_table(root / SELECTED, columns=["id"])[0].to_pylist()


def published(server, flow_run):
    """Return the parameters artifact of a flow run, and the run's log."""
    run_id = {"any_": [flow_run["id"]]}
    pages = server.ask(
        "artifacts", artifacts={"flow_run_id": run_id, "key": {"any_": ["parameters"]}}
    )
    logs = server.ask("logs", logs={"flow_run_id": run_id})
    return [page["data"] for page in pages], [log["message"] for log in logs]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
def test_the_budgets_of_a_run_do_not_change_the_users_workspace(quick_clustered, server):
    sample = quick_clustered
    unchanged = [sample.root / name for name in ("params.yaml", "dvc.lock")]
    before = [path.read_bytes() for path in unchanged]
    own_root = own(sample, "llm_select.budget=[12, 30]")
    call(sample, budget=[12, 30])
    assert len(selected(own_root)) == 30
    assert (own_root / "data/report/index.html").exists()
    assert [path.read_bytes() for path in unchanged] == before
    assert sample.run("git", "status", "--porcelain", "-uno").stdout == ""
    assert not (sample.root / SELECTED).exists()
    (last,) = server.ask("flow_runs", sort="START_TIME_DESC", limit=1)
    (page,), log = published(server, last)
    assert r"| llm_select.budget | \[12, 30\] | 60 |" in page
    assert str(own_root / SELECTED) in page
    assert "Only for this run: llm_select.budget = [12, 30] (params.yaml: 60)" in log
    assert f"export: {own_root / 'data/export'}" in log
    from_cache = {name for name, (state, _) in server.last_states().items() if state == "Cached"}
    assert from_cache >= set(STAGE_NAMES[1:5])  # without dependencies, fetch runs in each workspace

    (run,) = sample.logged_runs()
    assert run.data.params["llm_select.budget"] == "[12, 30]"
    assert run.data.tags["sets"] == "llm_select.budget=[12, 30]"
    assert run.data.tags["workspace"] == str(own_root)
    assert run.data.metrics["validate.funnel.selected"] == 30
