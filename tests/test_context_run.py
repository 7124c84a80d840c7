"""A pool of conversations with system prompts and tools, through all steps."""

import contextlib
import csv
import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tasks.audit.explain import explain
from tasks.lib.core.schemas import POOL
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table
from tests.browser import browser
from tests.conftest import STAGE_NAMES
from tests.workspaces import Workspace

pytestmark = pytest.mark.slow

TOPICS = ["tides", "bridges", "bees", "glaciers", "violins", "compilers", "volcanoes", "bread"]
ASKS = ["Make it shorter.", "Now explain it to a child.", "Give a second example, please."]
TOOLS = [{"name": "lookup", "parameters": {"word": "string"}}]
BUDGET = 6


def dialogue(number: int) -> dict[str, Any]:
    """Return a conversation with an open question, in the layout of OpenAI."""
    topic = TOPICS[number % len(TOPICS)]
    messages = [
        {"role": "system", "content": f"You teach {topic} at school number {number}."},
        {"role": "user", "content": f"What are {topic} good for? Case {number}."},
        {"role": "assistant", "content": f"Here are {number + 2} uses of {topic}."},
        {"role": "user", "content": ASKS[number % len(ASKS)]},
    ]
    return {"id": f"case-{number}", "messages": messages, "tools": TOOLS, "mood": "calm"}


@pytest.fixture(scope="module")
def space(clone: Callable[[str], Workspace]) -> Workspace:
    """Make a clone in which the steps have run on 40 conversations, in this process."""
    space = clone("context")
    rows = [dialogue(number) for number in range(40)]
    (space.root / "pool.jsonl").write_text("\n".join(map(json.dumps, rows)))
    space.set("ingest.source=pool.jsonl", f"llm_select.budget={BUDGET}")
    space.set("cluster.candidates_per_prompt=5", "baseline.methods=[random]", "baseline.n_seeds=2")
    with contextlib.chdir(space.root), pytest.MonkeyPatch.context() as patch:
        patch.delenv("DVC_ROOT", raising=False)
        for name in STAGE_NAMES:
            Stage(name, space.root).run(import_module(f"tasks.{name}.step").work)
    space.dvc("commit", "--force")
    return space


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_questions_that_differ_only_in_context_are_all_kept(space: Workspace):
    pool = read_table(space.root / "data/ingest/pool.parquet", POOL).to_pylist()
    assert len(pool) == 40
    assert {row["instruction"] for row in pool} == set(ASKS)
    assert all(row["system"] and row["turns"] and row["tools"] for row in pool)


def test_exports_have_the_context_and_the_columns_of_the_pool(space: Workspace):
    folder = space.root / "data/export"
    for line in lines(folder / "selection.chat.jsonl"):
        number = int(line["metadata"]["id"].removeprefix("case-"))
        given = dialogue(number)
        assert line["messages"] == given["messages"]
        assert line["tools"] == TOOLS
        assert line["metadata"]["mood"] == "calm"
    for line in lines(folder / "selection.alpaca.jsonl"):
        assert len(line["history"]) == 1
        assert line["system"].startswith("You teach ")
    with (folder / "selection.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == BUDGET
    for row in rows:
        assert row["pool.id"].startswith("case-")
        assert "You teach " in row["context"]
        assert "What are " in row["context"]


def test_explain_finds_a_record_by_the_pools_own_id_and_shows_what_the_judge_saw(
    space: Workspace,
):
    story = explain(space.root, "case-7")
    assert story["record"]["extra"]["id"] == "case-7"
    shown = story["record"]["shown"]
    expected = ["[system]", "[tools]", "[earlier user turn]", "[request]\n" + ASKS[7 % len(ASKS)]]
    assert [text in shown for text in expected] == [True] * 4
    texts = [candidate["text"] for candidate in story["prompt"]["candidates"]]
    assert shown in texts
    printed = space.call("explain", "case-7").stdout
    assert "You teach bread at school number 7." in printed
    assert '"mood": "calm"' in printed


def test_the_report_shows_context_and_own_ids(space: Workspace):
    page_file = space.root / "data/report/index.html"
    assert "You teach" in page_file.read_text(encoding="utf-8")
    with browser(space.root / "profile") as page:
        page.open(page_file, 1440)
        shown = page.run("document.body.innerText")
        data = json.loads(page.run("document.getElementById('map-data').textContent"))
        assert not page.problems
    assert "[earlier user turn]" in shown
    assert all(own.startswith("id: case-") for own in data["own"])
