"""Seconds and peak memory of the steps from llm_select on, over a made-up pool of any size.

    python benchmarks/million.py WORKSPACE --make 1000000 --budget 10000
    python benchmarks/million.py WORKSPACE llm_select validate export

The pool, its vectors and its prompts are drawn at random where the steps before would have made
them: sentences of made-up words, a third with a passage and a third with an output.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.core.records import record_id
from tasks.core.schemas import DEDUPE_DROPPED, INGEST_DROPPED, POOL, PROMPTS, UNIQUE
from tasks.core.tables import TableWriter, write_table

PROJECT = Path(__file__).parent.parent
PARTS = ("tasks", "dvc.yaml", "params.yaml")
SIZE = 14
N_DIMS = 384
VOCABULARY = 30_000
AT_ONCE = 10_000  # records


def main() -> None:
    """Make a workspace, or measure steps in it and print a table in Markdown."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("workspace", type=Path)
    arguments.add_argument("steps", nargs="*", help="to be measured, in this order")
    arguments.add_argument("--make", type=int, metavar="N", help="records of a new workspace")
    arguments.add_argument("--budget", type=int, default=10_000)
    given = arguments.parse_args()
    if given.make:
        make(given.workspace, given.make, given.budget)
    if given.steps:
        print("| step | seconds | CPU s | peak memory, MB |\n|---|---|---|---|", flush=True)
    for step in given.steps:
        measure(given.workspace, step)


def measure(root: Path, step: str) -> None:
    """One step as DVC starts it, in a process of its own."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", f"tasks.{step}"], cwd=root)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        sys.exit(f"{step} ended with {os.waitstatus_to_exitcode(status)}")
    cpu_s, peak_mb = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    print(f"| {step} | {seconds:.0f} | {cpu_s:.0f} | {peak_mb:.0f} |", flush=True)


def make(root: Path, n: int, budget: int) -> None:
    """A workspace in which everything is there that llm_select reads."""
    for part in PARTS:
        copy = shutil.copytree if (PROJECT / part).is_dir() else shutil.copy
        root.mkdir(parents=True, exist_ok=True)
        copy(PROJECT / part, root / part)
    params = (root / "params.yaml").read_text(encoding="utf-8")
    (root / "params.yaml").write_text(params.replace("budget: 60 ", f"budget: {budget} "))
    data = root / "data"
    for stage in ("ingest", "dedupe", "embed", "cluster"):
        (data / stage).mkdir(parents=True)
    with TableWriter(data / "ingest/pool.parquet", POOL) as pool:
        ids = [pool.append(record) or record["id"] for record in records(n)]
        pool.add_metadata({"n_rows": str(n)})
    write_table(data / "ingest/dropped.parquet", [], INGEST_DROPPED)
    write_table(data / "dedupe/dropped.parquet", [], DEDUPE_DROPPED)
    write_table(data / "dedupe/unique.parquet", pa.table({"id": ids}), UNIQUE)
    write_vectors(data / "embed/vectors.npy", n)
    write_prompts(data / "cluster", ids)


def records(n: int) -> Iterator[dict[str, Any]]:
    """So many records, all different."""
    rng = np.random.default_rng(0)
    syllables = np.array([a + b for a in "bdfgklmnprstvz" for b in "aeiou"])
    drawn = syllables[rng.integers(0, len(syllables), (VOCABULARY, 4))]
    words = np.array(["".join(word[: 2 + i % 3]) for i, word in enumerate(drawn)])
    for first in range(0, n, AT_ONCE):
        lengths = rng.integers(6, 40, (AT_ONCE, 3))
        lengths[:, 1:] *= (rng.random((AT_ONCE, 2)) < 1 / 3) * [2, 3]  # passage and output
        flat = words[(VOCABULARY * rng.random(lengths.sum()) ** 3).astype(int)].tolist()
        ends = lengths.ravel().cumsum().reshape(-1, 3)
        for i in range(first, min(first + AT_ONCE, n)):
            (a, b, c), start = ends[i - first], ends[i - first, 0] - lengths[i - first, 0]
            asked, passage = f"{' '.join(flat[start:a])}?".capitalize(), " ".join(flat[a:b])
            yield {
                "id": record_id(asked, passage),
                "instruction": asked,
                "input": passage,
                "output": " ".join(flat[b:c]) or None,
                "source": f"made-up:{i + 1}",
                "extra": json.dumps({"category": f"kind {i % 8}"}),
            }


def write_vectors(path: Path, n: int) -> None:
    """Unit vectors around a thousand directions, as float32."""
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((1000, N_DIMS), dtype=np.float32)
    vectors = np.lib.format.open_memmap(path, "w+", np.float32, (n, N_DIMS))
    for first in range(0, n, AT_ONCE):
        noise = rng.standard_normal((min(AT_ONCE, n - first), N_DIMS), dtype=np.float32)
        noise += centres[rng.integers(0, len(centres), len(noise))]
        vectors[first : first + len(noise)] = noise / np.linalg.norm(noise, axis=1, keepdims=True)
    vectors.flush()


def write_prompts(folder: Path, ids: list[str]) -> None:
    """Prompts of records by lot, as even as can be."""
    n = len(ids)
    n_prompts = -(-n // SIZE)
    sizes = np.full(n_prompts, n // n_prompts)
    sizes[: n % n_prompts] += 1
    order = np.random.default_rng(2).permutation(n)
    prompt = np.repeat(np.arange(n_prompts), sizes)
    slot = np.arange(n) - np.repeat(sizes.cumsum() - sizes, sizes)
    columns = {"prompt": prompt + 1, "slot": slot + 1, "cluster": prompt + 1}
    table = pa.table(columns).append_column("id", pa.array(ids).take(pa.array(order)))
    write_table(folder / "prompts.parquet", table, PROMPTS)
    facts = {"mode": "within", "candidates_per_prompt": SIZE}
    facts |= {"n_prompts": n_prompts, "n_records": n, "n_clusters": n_prompts}
    (folder / "clusters.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
