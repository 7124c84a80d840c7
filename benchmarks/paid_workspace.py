"""Make a small workspace that is ready for a judge that costs money, to benchmark whole runs.

It has part of the sample, and the stages from `fetch` to `choose`; those before `llm_select` have
run. Later stages read only files, and would take most of the time of a run this small.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.fake_provider import FakeProvider
from tests.workspaces import PROJECT, Workspace, lay_out

POOL = "data/sample/instructions.jsonl"
LATER = ("validate", "export", "baseline", "measure", "report")
SETTINGS = (
    *("llm_select.budget=20", "llm_select.shortlist=1", "llm_select.route=mine"),
    *("llm_select.concurrency=3", "llm_select.max_attempts=3", "llm_select.timeout_s=20"),
    "cluster.candidates_per_prompt=4",
)


def make(
    root: Path,
    prefect_home: Path,
    provider: FakeProvider,
    n_records: int,
    left_out: Sequence[str] = LATER,
) -> Workspace:
    """Make the workspace, with a route to the provider, and run its stages before the judge."""
    lay_out(root, "tasks", "flows", "dvc.yaml", "params.yaml", "prefect.yaml", "data/none.jsonl")
    (root / POOL).parent.mkdir(parents=True)
    (root / POOL).write_bytes(b"".join(_sound_lines()[:n_records]))
    _leave_out(root / "dvc.yaml", left_out)
    space = Workspace.commit(root, prefect_home)
    space.set(f"models.mine={_flow_style(provider.deployment())}", *SETTINGS)
    space.run("git", "commit", "-qam", "Use a route that costs money")
    space.dvc("repro", "-q", "cluster")
    return space


def _sound_lines() -> list[bytes]:
    """Return the lines of the sample that are rows."""
    lines = (PROJECT / POOL).read_bytes().splitlines(keepends=True)
    return [line for line in lines if line.startswith(b"{") and line.isascii()]


def _flow_style(values: dict[str, Any]) -> str:
    return json.dumps(values).replace('"', "'")


def _leave_out(path: Path, stages: Sequence[str]) -> None:
    yaml = YAML()
    content = yaml.load(path)
    for stage in stages:
        del content["stages"][stage]
    for section in ("metrics", "plots") if stages else ():
        del content[section]
    with path.open("w") as file:
        yaml.dump(content, file)
