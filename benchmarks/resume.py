"""Measure the whole llm_select step when every answer is already in the journal.

    python benchmarks/resume.py                  # 1,000, 10,000 and 100,000 prompts of 14 records
    python benchmarks/resume.py --code FOLDER    # the same with the code of another checkout

The step runs in its own process, as DVC runs it. It prints Markdown.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from random import Random
from subprocess import Popen
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ruamel.yaml import YAML

from tasks.lib.core.records import record_id
from tasks.lib.core.schemas import KNOWN, POOL, PROMPTS
from tasks.lib.core.stage import JOURNAL, Stage
from tasks.lib.core.tables import ROW_GROUP, write_table
from tasks.lib.gateway.request import Request
from tasks.lib.journal.database import Database
from tasks.lib.journal.models import Answer
from tasks.lib.journal.schema import connect
from tasks.llm_select.judge import Judge
from tasks.llm_select.setup import Setup
from tasks.llm_select.verdicts import ignore

PROJECT = Path(__file__).parent.parent
SIZE = 14
Columns = dict[str, list[Any]]
CLUSTERS = {
    "mode": "across",
    "solver": "balanced",
    "solver_reason": "as params.yaml says",
    "seed": 0,
    "n_earlier_prompts": 0,
    "n_clusters": SIZE,
    "candidates_per_prompt": SIZE,
    "inertia": 1.0,
    "cluster_sizes": [],
}
DEPLOYMENT = {
    "model": "openai/fake",
    "schema": "always",
    "api_base": "http://127.0.0.1:9/v1",
    "api_key": "none",
    "input_cost_per_token": 1e-7,
    "output_cost_per_token": 4e-7,
}


def text(i: int) -> str:
    """Return a record of typical length."""
    return f"Explain to a beginner what {i} has to do with topic {i % 97}. " * 3


def pool(rows: list[int]) -> Columns:
    """Return rows of the pool."""
    empty = dict.fromkeys(("output", "system", "turns", "tools"), [None] * len(rows))
    return {
        "id": [record_id(text(i), "") for i in rows],
        "instruction": [text(i) for i in rows],
        "input": [""] * len(rows),
        "source": [f"pool.jsonl:{i + 1}" for i in rows],
        "extra": ["{}"] * len(rows),
        **empty,
    }


def prompts(rows: list[int]) -> Columns:
    """Return rows of the prompts table."""
    return {
        "prompt": [i // SIZE + 1 for i in rows],
        "slot": [i % SIZE + 1 for i in rows],
        "id": [record_id(text(i), "") for i in rows],
        "cluster": [i % SIZE + 1 for i in rows],
    }


def write(path: Path, schema: pa.Schema, rows: list[int], make: Callable[..., Columns]) -> None:
    """Write a table in row groups, since it may not fit into memory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, len(rows), ROW_GROUP):
            group = make(rows[start : start + ROW_GROUP])
            writer.write_table(pa.Table.from_pydict(group, schema=schema))


def lay_out(root: Path, n_prompts: int) -> None:
    """Write a workspace for the step, with the records of a prompt spread over the pool."""
    n_records, data = n_prompts * SIZE, root / "data"
    spread = np.random.default_rng(0).permutation(n_records).tolist()
    write(data / "ingest/pool.parquet", POOL, spread, pool)
    write(data / "cluster/prompts.parquet", PROMPTS, [*range(n_records)], prompts)
    (data / "dedupe").mkdir()
    write_table(data / "dedupe/known.parquet", [], KNOWN)
    clusters = CLUSTERS | {"n_records": n_records, "n_prompts": n_prompts}
    (data / "cluster/clusters.json").write_text(json.dumps(clusters))
    (root / "dvc.yaml").write_text((PROJECT / "dvc.yaml").read_text())
    yaml = YAML(typ="safe")
    values = yaml.load((PROJECT / "params.yaml").read_text())
    values["llm_select"] |= {"budget": n_prompts, "route": "mine"}
    values["models"] = {"mine": DEPLOYMENT}
    yaml.dump(values, root / "params.yaml")
    (root / "tasks").symlink_to(PROJECT / "tasks")
    fill(root)


class Writer:
    """A source that writes an answer to every request into a journal, and returns it."""

    def __init__(self, db: Database) -> None:
        self._db, self.stopping = db, asyncio.Event()
        names = (*Answer._fields, "created")
        places = ", ".join("?" * len(names))
        self._insert = f"INSERT INTO answers ({', '.join(names)}) VALUES ({places})"

    async def lookup(self, request: Request) -> None:
        """Return None: no request has an answer yet."""

    async def ask(self, request: Request) -> Answer:
        """Return a random answer."""
        rng, schema = Random(request.key), (request.response_format or {})["json_schema"]["schema"]
        picks = schema["properties"]["picks"]
        slots = range(1, picks["items"]["maximum"] + 1)
        parsed = tuple(rng.sample(slots, picks["minItems"]))
        said, usd = json.dumps({"picks": parsed}), rng.random() / 1e4
        facts = (said, parsed, rng.randint(800, 1000), 12, usd, False, (), "stop")
        answer = Answer(request.key, request.alias, "fake", *facts)
        self._db.execute(self._insert, (*answer.as_row(), ""))
        return answer


def fill(root: Path) -> None:
    """Write the answers to all prompts into the journal."""
    stage = Stage("llm_select", root)
    setup = Setup.read(stage, stage.values, root)
    with closing(connect(stage.state / JOURNAL)) as db:
        db.execute("BEGIN")
        judge = Judge(Writer(db), setup.routes, setup.settings, setup.candidates.texts)
        asyncio.run(setup.judge(judge, ignore))
        db.execute("COMMIT")


def measure(root: Path, code: Path) -> tuple[float, float]:
    """Return the CPU seconds and the peak MiB of the step."""
    (root / "tasks").unlink()
    (root / "tasks").symlink_to(code / "tasks")
    with Path(os.devnull).open("w") as nowhere:
        step = Popen([sys.executable, "-m", "tasks.llm_select"], cwd=root, stderr=nowhere)
        _, status, used = os.wait4(step.pid, 0)
    if status:
        raise SystemExit(f"the step failed in {root}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    """Print a table with a line for each number of prompts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n_prompts", nargs="*", type=int, default=[1_000, 10_000, 100_000])
    parser.add_argument("--code", type=Path, default=PROJECT)
    given = parser.parse_args()
    os.environ.pop("PYTHONPATH", None)
    print("| prompts | CPU s | peak MiB | hash of the outputs |\n|---|---|---|---|")
    for n_prompts in given.n_prompts:
        with tempfile.TemporaryDirectory() as folder:
            # In another process, since the peak of a child includes the memory of its parent.
            writing = get_context("spawn").Process(target=lay_out, args=(Path(folder), n_prompts))
            writing.start()
            writing.join()
            cpu_s, peak_mib = measure(Path(folder), given.code.resolve())
            outputs = sorted((Path(folder) / "data/llm_select").iterdir())
            digest = sha256(b"".join(path.read_bytes() for path in outputs)).hexdigest()[:8]
        print(f"| {n_prompts:,} | {cpu_s:.1f} | {peak_mib:.0f} | {digest} |", flush=True)


if __name__ == "__main__":
    main()
