"""A workspace in which the prompts are ready for llm_select."""

import json
import logging
import os
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest

from tasks.choose.step import work as choose
from tasks.lib.core.errors import CurationError
from tasks.lib.core.records import record_id, record_text
from tasks.lib.core.schemas import BALLOTS, POOL, PROMPTS, SELECTED, UNIQUE
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table
from tasks.lib.prompts.compose import Mode, compose
from tasks.llm_select.step import work
from tests.sound_run import CLUSTERS
from tests.workspaces import PROJECT, StepWorkspace

N_RECORDS, SIZE = 40, 8


def record(i, instruction, input_text=""):
    return {
        "id": record_id(instruction, input_text),
        "instruction": instruction,
        "input": input_text,
        "output": None,
        "system": None,
        "turns": None,
        "tools": None,
        "source": f"pool.jsonl:{i + 1}",
        "extra": "{}",
    }


def mixed_record(i):
    """Return a record with an input, without one, or with gibberish."""
    instruction = f"Explain topic {i} to a beginner, and give {i % 5 + 2} examples."
    if i % 10 == 7:
        instruction = f"asdkjh qwlekjq zxmcnb{i}"
    return record(i, instruction, f"Notes on topic {i}." if i % 3 == 0 else "")


class Done(NamedTuple):
    """The exit code and the messages of a step."""

    exit_code: int
    said: str


class Desk(StepWorkspace):
    """A workspace in which the prompts are ready for llm_select."""

    def __init__(self, root, records, size, budget, caplog=None, *, is_reversed=False):
        super().__init__(root)
        (root / "tasks").symlink_to(PROJECT / "tasks")  # copying it takes longer than most tests
        self.budget, self.caplog = budget, caplog
        self.records = {r["id"]: r for r in records}
        clusters = (np.arange(len(records)) % size).astype(np.int32)
        prompts = compose(clusters, len(records) // size, Mode.ACROSS, 0)
        prompts = prompts[::-1] if is_reversed else prompts
        self.prompts = [[records[i]["id"] for i in prompt] for prompt in prompts]
        self.write("ingest/pool.parquet", records[::-1], POOL)  # another order than the candidates'
        shown = [
            {"prompt": p, "slot": s, "id": records[i]["id"], "cluster": int(clusters[i]) + 1}
            for p, prompt in enumerate(prompts, 1)
            for s, i in enumerate(prompt, 1)
        ]
        self.write("cluster/prompts.parquet", shown, PROMPTS)
        sizes = {"n_records": len(records), "n_prompts": len(prompts)}
        self.write_json("cluster/clusters.json", {**CLUSTERS, "mode": "across", **sizes})
        ids = [{"id": row["id"]} for row in records]
        self.write("dedupe/unique.parquet", ids, UNIQUE)
        vectors = np.random.default_rng(0).normal(size=(len(records), 16))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        np.save(self.file("embed/vectors.npy"), vectors.astype(np.float32))
        self.write_no_references(16)

    def set(self, deployment=None, **params):
        """Set the parameters, and the deployment if one is given."""
        self.update(llm_select={"budget": self.budget, "timeout_s": 60.0} | params)
        if deployment:
            self.update(llm_select={"route": "mine"}, models={"mine": deployment})

    def run(self, deployment=None, **params):
        """Run the step in this process."""
        self.set(deployment, **params)
        self.caplog.clear()
        try:
            Stage("llm_select", self.root).run(work)
        except CurationError as error:
            return Done(error.exit_code, str(error))
        return Done(0, self.caplog.text)

    def start(self, **env):
        """Start the step as DVC does, with the current parameters."""
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tasks.llm_select"],
            cwd=self.root,
            env={name: value for name, value in os.environ.items() if name != "DVC_ROOT"} | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run_program(self):
        """Run the step as DVC does, with the current parameters."""
        step = self.start()
        streams = step.communicate()
        return subprocess.CompletedProcess(step.args, step.returncode, *streams)

    def out(self, name):
        return self.root / "data/llm_select" / name

    def judgements(self):
        return [json.loads(line) for line in self.out("judgements.jsonl").read_text().splitlines()]

    def ballots(self):
        return read_table(self.out("ballots.parquet"), BALLOTS).to_pylist()

    def choose(self, budget=None, **params):
        """Choose from the ballots; return the rows of the selection."""
        self.update(choose=params, llm_select={"budget": budget or self.budget})
        Stage("choose", self.root).run(choose)
        return read_table(self.root / "data/choose/selected.parquet", SELECTED).to_pylist()

    def receipts(self):
        text = (self.root / "data/choose/receipt.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def usage(self):
        return json.loads(self.out("usage.json").read_text())

    def bytes(self):
        return {path.name: path.read_bytes() for path in self.out(".").iterdir()}


@pytest.fixture
def desk(tmp_path, monkeypatch, caplog, warm_client):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    caplog.set_level(logging.INFO, logger="selectllm")
    return Desk(tmp_path, [mixed_record(i) for i in range(N_RECORDS)], SIZE, 12, caplog)


def text_of(desk, record_id):
    row = desk.records[record_id]
    return record_text(row["instruction"], row["input"])
