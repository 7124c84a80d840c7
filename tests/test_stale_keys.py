"""docs/reference/params.md says which stages each key makes stale; DVC agrees."""

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from tasks.lib.core.dvc_yaml import load_yaml, read_graph
from tests.conftest import PROJECT

pytestmark = pytest.mark.slow

OTHER_VALUE = {
    "engine": "ray",
    "seed": 1,
    "compare": "{}",
    "fetch.source": "memory://pool",
    "fetch.database": "sqlite:///pool.db",
    "ingest.source": "data/sample/README.md",
    "ingest.files": "[a]",
    "ingest.table": "{quotes: none}",
    "ingest.columns": "{instruction: instruction}",
    "ingest.turn": "first",
    "ingest.exclude": "{lang: en}",
    "ingest.exclude_file": "data/sample/instructions.jsonl",
    "ingest.decontaminate": "data/sample/instructions.jsonl",
    "ingest.max_dropped": 0.5,
    "embed.model": "data/sample",
    "embed.precision": "bfloat16",
    "cluster.mode": "across",
    "cluster.n_prompts": 30,
    "cluster.earlier_prompts": "data/sample/instructions.jsonl",
    "llm_select.route": "chatgpt",
    "llm_select.take": "last",
    "llm_select.fallback_routes": "[gemma]",
    "llm_select.prompt": "LICENSE",
    "llm_select.journal": "postgresql+psycopg://a@b/c",
    "llm_select.rationale": "true",
    "llm_select.attention_checks": 3,
    "choose.annotated": "data/sample/README.md",
    "choose.targets": "data/sample/README.md",
    "choose.weight_column": "weight",
    "choose.quotas": "{lang: as_pool}",
    "validate.on_judge_fault": "fail",
    "export.formats": "[csv]",
    "baseline.methods": "[random]",
    "baseline.route": "chatgpt",
    "measure.shares": "[]",
    "evaluate.model": "model",
    "evaluate.encoder": "encoder",
    "models.offline": "{model: offline/typical, schema: auto}",
}


def test_the_params_table_says_what_each_key_makes_stale(done):
    """Compare the page with DVC itself.

    Keys change together if DVC names the changed key. A key that dvc.yaml inserts into a path or
    a name changes alone, since DVC then names only that path or name.
    """
    page = (PROJECT / "docs/reference/params.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| `")]
    documented = {
        row[0].strip("`"): [stage for stage in row[-1].split(", ") if stage != "-"]
        for row in rows
        if len(row) == 5  # keys of a route have no stages
    }
    assert set(documented) == _keys(load_yaml(PROJECT / "params.yaml"))
    declared = (PROJECT / "dvc.yaml").read_text(encoding="utf-8")
    apart = [key for key in documented if f"${{{key}}}" in declared]
    assert len(apart) > 5
    stale = {key: set(_changes(done, key)) for key in apart}
    together = _changes(done, *(key for key in documented if key not in apart))
    for key in documented:
        if key not in apart:
            names = {key, key.partition(".")[0]}  # a stage may declare a whole section
            stale[key] = {stage for stage, changed in together.items() if changed & names}
    assert stale == {key: set(stages) for key, stages in documented.items()}


def _changes(space, *keys):
    """Change keys; return the parameters and files that make stages stale, as DVC lists them."""
    with space.params_kept() as params:
        _force(params, keys)
        with Repo(str(space.root)) as repo:
            status = repo.status()
    made = {out.path for stage in read_graph(space.root).stages for out in stage.outs}
    found = {
        name.rpartition(":")[2]: {
            part
            for change in changes
            if isinstance(change, dict)
            for dep, what in change.get("changed deps", {}).items()
            if dep not in made
            for part in (what if isinstance(what, dict) else [dep])
        }
        for name, changes in status.items()
    }
    return {stage: parts for stage, parts in found.items() if parts}


def _keys(params):
    shared = ("engine", "seed", "compare")
    keys = {*shared} | {f"models.{alias}" for alias in params["models"]}
    for section, body in params.items():
        if section not in (*shared, "models"):
            keys |= {f"{section}.{key}" for key in body}
    return keys


def _force(params, keys):
    """Change keys without letting the steps check them, since this test is about DVC."""
    yaml = YAML()
    yaml.preserve_quotes = True
    values = yaml.load(params.read_text())
    for key in keys:
        *parents, last = key.split(".")
        body = values
        for parent in parents:
            body = body[parent]
        other = OTHER_VALUE.get(key)
        if other is None:
            other = {"model": "openai/x"} if parents == ["models"] else body[last] * 2
        body[last] = YAML(typ="safe").load(other) if isinstance(other, str) else other
    with params.open("w") as file:
        yaml.dump(values, file)
