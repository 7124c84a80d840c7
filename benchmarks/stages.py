"""Measure the time and peak memory of every stage, and the cost of a second run with no change.

    python benchmarks/stages.py ../shared/data/dolly_15k.jsonl.gz --exclude is_selectllm_test=true
    python benchmarks/stages.py POOL.jsonl.gz --made-up-vectors --budget 10000
    python benchmarks/stages.py --done WORKSPACE    (only the second run, where all is up to date)
    python benchmarks/stages.py --coverage VECTORS.npy --budget 3000    (only the greedy search)
    python benchmarks/stages.py --coverage 1000000 --budget 10000       (the same, made-up vectors)

It works in a fresh copy of the workspace, so nothing is cached and none of your files change. With
made-up vectors, the other stages can be measured at sizes for which embed would take hours: instead
of embedding, it writes unit vectors around a thousand directions, and there is no second run.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from flows.cli.supervise import QUIET
from flows.dvc import command as dvc
from flows.dvc import overrides
from tasks.lib.core.dvc_yaml import read_graph
from tasks.lib.coverage.greedy import greedy
from tasks.lib.kmeans.partition import Vectors
from tasks.lib.unique import write_vectors

PROJECT = Path(__file__).parent.parent
N_CENTRES, N_DIMS = 1000, 384
AT_ONCE = 10_000  # vectors
PARTS = (
    *("tasks", "flows", "dvc.yaml", "params.yaml", "data/none.jsonl"),
    *(".dvc/config", ".dvcignore", ".gitignore"),
)


def main() -> None:
    """Measure, and print a table in Markdown."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("pool", type=Path, nargs="?")
    arguments.add_argument("--exclude", default="", help="leave out rows with this column=value")
    arguments.add_argument("--budget", type=int, default=1000)
    arguments.add_argument("--made-up-vectors", action="store_true")
    arguments.add_argument("--keep", type=Path, help="an empty folder for the copy, which is kept")
    arguments.add_argument("--until", default="", help="the last stage to run")
    arguments.add_argument("--done", type=Path, help="measure only a second run, in this workspace")
    arguments.add_argument(
        "--coverage",
        help="measure only the greedy search, on a file of vectors or on this many made-up ones",
    )
    given = arguments.parse_args()
    if given.coverage:
        coverage(given.coverage, given.budget)
        return
    if given.done:
        second_run(given.done)
        return
    with nullcontext(given.keep) if given.keep else tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        changes = [f"ingest.source={given.pool.resolve()}", f"llm_select.budget={given.budget}"]
        if given.exclude:
            column, _, value = given.exclude.partition("=")
            changes.append(f"ingest.exclude={{{column}: {value}}}")
        copy_workspace(root)
        overrides.apply(root, changes)
        first_run(root, given.made_up_vectors, given.until)
        if given.made_up_vectors or given.until:
            return
        subprocess.run([*dvc.COMMAND, "commit", "-q", "--force"], cwd=root, check=True)
        second_run(root)


def copy_workspace(root: Path) -> None:
    """Create a Git and DVC repository at `root` with the project's graph and no run yet."""
    for part in PARTS:
        target = root / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if (PROJECT / part).is_dir():
            shutil.copytree(PROJECT / part, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(PROJECT / part, target)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)


def first_run(root: Path, made_up_vectors: bool, until: str) -> None:
    """Run each step once in its own process, as DVC does."""
    print("| stage | seconds | CPU s | peak memory, MB |\n|---|---|---|---|", flush=True)
    total_s = total_cpu_s = 0.0
    for stage in read_graph(root).stages:
        if stage.name == "embed" and made_up_vectors:
            n = pq.read_metadata(root / "data/dedupe/unique.parquet").num_rows
            (root / "data/embed").mkdir()
            write_vectors(root / "data/embed/vectors.npy", n, N_DIMS, made_up(n))
            continue
        start = time.perf_counter()
        step = subprocess.Popen(
            [sys.executable, "-m", f"tasks.{stage.name}"], cwd=root, stderr=subprocess.PIPE
        )
        errors = step.stderr.read().decode() if step.stderr else ""
        _, status, usage = os.wait4(step.pid, 0)
        if status:
            sys.exit(errors)
        seconds, cpu_s = time.perf_counter() - start, usage.ru_utime + usage.ru_stime
        print(f"| {stage.name} | {seconds:.1f} | {cpu_s:.1f} | {usage.ru_maxrss / 1024:.0f} |")
        sys.stdout.flush()
        total_s, total_cpu_s = total_s + seconds, total_cpu_s + cpu_s
        if stage.name == until:
            break
    print(f"| all | {total_s:.1f} | {total_cpu_s:.1f} | |\n")


def made_up(n: int) -> Iterator[Vectors]:
    """Yield n float32 unit vectors around 1000 centres, block by block."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((N_CENTRES, N_DIMS), dtype=np.float32)
    for start in range(0, n, AT_ONCE):
        block = rng.standard_normal((min(AT_ONCE, n - start), N_DIMS), dtype=np.float32)
        block += centres[rng.integers(0, N_CENTRES, len(block))]
        yield block / np.linalg.norm(block, axis=1, keepdims=True)


def coverage(which: str, n: int) -> None:
    """Select from a random 3/14 of the vectors, and print the CPU seconds and the peak memory."""
    vectors = np.concatenate(list(made_up(int(which)))) if which.isdigit() else np.load(which)
    m = len(vectors)
    candidates = np.random.default_rng(0).permutation(m)[: m * 3 // 14]
    start = time.process_time()
    gains = greedy(vectors, candidates, n).gains
    cpu_s = time.process_time() - start
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{m:,} vectors, N = {n:,}: {cpu_s:.1f} CPU s, {peak_mb:.0f} MB, {gains.sum():.4f}")


def second_run(root: Path) -> None:
    """Time DVC alone, an empty flow, and our flow when everything is up to date."""
    env = dict(QUIET) | dvc.environment()
    env["PREFECT_HOME"] = str(root / ".selectllm" / "prefect")
    nothing = "from prefect import flow; flow(lambda: None, name='nothing')()"
    commands = {
        "`dvc repro`": [*dvc.COMMAND, "repro"],
        "a Prefect flow that does nothing": [sys.executable, "-c", nothing],
        "`selectllm run`": [sys.executable, "-m", "flows.cli", "run"],
    }
    print("| second run | seconds, median of 3 |\n|---|---|")
    for name, command in commands.items():
        subprocess.run(command, cwd=root, env=env, check=True, capture_output=True)  # warm
        took = []
        for _ in range(3):
            start = time.perf_counter()
            subprocess.run(command, cwd=root, env=env, check=True, capture_output=True)
            took.append(time.perf_counter() - start)
        print(f"| {name} | {sorted(took)[1]:.1f} |")


if __name__ == "__main__":
    main()
