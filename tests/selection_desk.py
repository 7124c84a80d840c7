"""A workspace in which the prompts are ready for llm_select."""

import json
import logging
import os
import shutil
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
from ruamel.yaml import YAML

from tasks.lib.core.errors import CurationError
from tasks.lib.core.records import record_id, record_text
from tasks.lib.core.schemas import POOL, PROMPTS
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import write_table
from tasks.lib.prompts.compose import Mode, compose
from tasks.llm_select.step import work
from tests.conftest import PROJECT

N_RECORDS, SIZE = 40, 8


def record(i):
    instruction = f"Explain topic {i} to a beginner, and give {i % 5 + 2} examples."
    if i % 10 == 7:
        instruction = "asdkjh qwlekjq zxmcnb"
    input_text = f"Notes on topic {i}." if i % 3 == 0 else ""
    return {
        "id": record_id(instruction, f"{input_text}{i}"),
        "instruction": instruction,
        "input": input_text,
        "output": None,
        "source": f"pool.jsonl:{i + 1}",
        "extra": "{}",
    }


class Done(NamedTuple):
    """How a step ended, and what it said."""

    exit_code: int
    said: str


class Desk:
    """A workspace in which the prompts are ready for llm_select."""

    def __init__(self, root, caplog):
        self.root, self.caplog = root, caplog
        shutil.copytree(PROJECT / "tasks", root / "tasks")
        for name in ("dvc.yaml", "params.yaml"):
            shutil.copy(PROJECT / name, root / name)
        records = [record(i) for i in range(N_RECORDS)]
        clusters = (np.arange(N_RECORDS) % SIZE).astype(np.int32)
        prompts = compose(clusters, N_RECORDS // SIZE, Mode.ACROSS, 0)
        self.write("ingest/pool.parquet", records[::-1], POOL)  # another order than the candidates'
        shown = [
            {
                "prompt": p + 1,
                "slot": s + 1,
                "id": records[i]["id"],
                "cluster": int(clusters[i]) + 1,
            }
            for p, prompt in enumerate(prompts)
            for s, i in enumerate(prompt)
        ]
        self.write("cluster/prompts.parquet", shown, PROMPTS)
        facts = {"mode": "across", "candidates_per_prompt": SIZE, "n_prompts": len(prompts)}
        (root / "data/cluster/clusters.json").write_text(json.dumps(facts))
        self.records = {r["id"]: r for r in records}
        self.prompts = [[records[i]["id"] for i in prompt] for prompt in prompts]

    def write(self, tail, rows, schema):
        path = self.root / "data" / tail
        path.parent.mkdir(parents=True, exist_ok=True)
        write_table(path, rows, schema)

    def set(self, deployment=None, **params):
        yaml = YAML(typ="safe")
        values = yaml.load((self.root / "params.yaml").read_text())
        values["llm_select"] |= {"budget": 12} | params
        if deployment:
            values["llm_select"]["route"] = "mine"
            values["models"]["mine"] = deployment
        with (self.root / "params.yaml").open("w") as file:
            yaml.dump(values, file)

    def run(self, deployment=None, **params):
        self.set(deployment, **params)
        self.caplog.clear()
        try:
            Stage("llm_select", self.root).run(work)
        except CurationError as error:
            return Done(error.exit_code, str(error))
        return Done(0, self.caplog.text)

    def run_program(self):
        """The step as DVC starts it, with parameters as they stand."""
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "tasks.llm_select"],
            cwd=self.root,
            env={name: value for name, value in os.environ.items() if name != "DVC_ROOT"},
            capture_output=True,
            text=True,
            check=False,
        )

    def out(self, name):
        return self.root / "data/llm_select" / name

    def receipts(self):
        return [json.loads(line) for line in self.out("receipt.jsonl").read_text().splitlines()]

    def usage(self):
        return json.loads(self.out("usage.json").read_text())

    def bytes(self):
        return {path.name: path.read_bytes() for path in self.out(".").iterdir()}


@pytest.fixture
def desk(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    caplog.set_level(logging.INFO, logger="selectllm")
    return Desk(tmp_path, caplog)


def text_of(desk, record_id):
    row = desk.records[record_id]
    return record_text(row["instruction"], row["input"])
