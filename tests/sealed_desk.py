"""A workspace to select in whose outputs are recorded as DVC does, to verify and to explain."""

import json

import pytest
from ruamel.yaml import YAML

from tasks.audit.dvc_lock import dvc_md5
from tasks.audit.verify import verify
from tasks.lib.core.dvc_yaml import read_stage
from tasks.lib.core.params import lookup, read_params
from tasks.lib.core.schemas import (
    DEDUPE_DROPPED,
    INGEST_DROPPED,
)
from tests.behaviours import fails, honest, says

OUTS = {
    "ingest": [
        *("ingest/pool.parquet", "ingest/dropped.parquet"),
        *("ingest/annotated.parquet", "ingest/held_out.parquet", "ingest/targets.parquet"),
    ],
    "dedupe": ["dedupe/unique.parquet", "dedupe/dropped.parquet", "dedupe/known.parquet"],
    "embed": ["embed/vectors.npy", "embed/annotated.npy", "embed/targets.npy"],
    "cluster": ["cluster/prompts.parquet", "cluster/clusters.json"],
    "llm_select": [
        *("llm_select/ballots.parquet", "llm_select/judgements.jsonl", "llm_select/usage.json"),
    ],
    "choose": ["choose/selected.parquet", "choose/receipt.jsonl", "choose/choice.json"],
}


def seal(table):
    """Write dvc.lock as DVC does after all stages have run."""

    def entries(paths):
        return [{"path": path, "md5": dvc_md5(table.root / path)} for path in paths]

    values = read_params(table.root / "params.yaml")
    stages = {n: {"outs": entries(f"data/{tail}" for tail in tails)} for n, tails in OUTS.items()}
    for name in ("llm_select", "choose"):
        stage = read_stage(table.root, name, values)
        params = {key: lookup(values, key) for key in stage.params}
        stages[name] |= {"deps": entries(stage.deps), "params": {"params.yaml": params}}
    with (table.root / "dvc.lock").open("w") as file:
        YAML(typ="safe").dump({"schema": "2.0", "stages": stages}, file)


@pytest.fixture
def table(desk):
    """A workspace to select in, with the rows that the earlier steps dropped."""
    first = next(iter(desk.records))
    rows = [
        {"file": "pool.jsonl", "line": 99, "reason": "nul", "detail": "instruction contains a NUL"}
    ]
    desk.write("ingest/dropped.parquet", rows, INGEST_DROPPED)
    rows = [{"id": "0" * 16, "reason": "near", "of_id": first, "similarity": 0.9}]
    desk.write("dedupe/dropped.parquet", rows, DEDUPE_DROPPED)
    return desk


def select(table, provider=None, **params):
    done = table.run(provider.deployment() if provider else None, **params)
    assert done.exit_code == 0, done.said
    table.choose(params.get("budget"))
    seal(table)


def sees(call, topic):
    return any(f"topic {topic} " in text for text in call.block.texts)


def explained(call):
    slots = json.loads(json.loads(honest(call).body)["choices"][0]["message"]["content"])["picks"]
    return says(json.dumps({"picks": slots, "reasons": ["Good."] * len(slots)}))(call)


def blocked(call):
    return (fails(400, "blocked by the content policy") if sees(call, 11) else honest)(call)


def difference_of(table):
    (difference,) = verify(table.root).differences
    return difference
