"""Compare embed with sentence-transformers' plain `encode`, and measure the cost of growth.

    python benchmarks/embed.py speed ../shared/data/dolly_15k.jsonl.gz --sample 3000
    python benchmarks/embed.py grown ../shared/data/dolly_15k.jsonl.gz --sample 0

`speed` loads the models, then measures the methods in turn for several rounds, all in one process:
plain `encode`, the same on one thread, and ours in both precisions.
`grown` runs the whole step three times: on a pool, on the pool grown by 1 %, and with nothing new.
Pools are JSONL with `instruction` and `input`. Both commands also print CPU seconds, since wall
time means little on a busy machine.
"""

import argparse
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.embed.encoder import encode_all
from tasks.embed.encoder_settings import Precision
from tasks.embed.model_source import find_model
from tasks.embed.pool_texts import PoolText
from tasks.lib.core.dvc_yaml import load_yaml
from tasks.lib.core.records import record_id, record_text
from tasks.lib.core.schemas import POOL, UNIQUE
from tasks.lib.core.tables import write_table

PROJECT = Path(__file__).parent.parent
WAYS = ("plain", "one-thread", "float32", "bfloat16")
Vectors = NDArray[np.float32]


def main() -> None:
    """Measure, and print a table in Markdown."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("what", choices=["speed", "grown"])
    arguments.add_argument("pool", type=Path)
    arguments.add_argument("--sample", type=int, default=3_000, help="number of texts; 0 means all")
    arguments.add_argument("--rounds", type=int, default=2)
    arguments.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    arguments.add_argument("--precision", type=Precision, default=Precision.FLOAT32)
    given = arguments.parse_args()
    fields = read(given.pool)
    if given.sample:
        drawn = np.random.default_rng(0).choice(len(fields), given.sample, replace=False)
        fields = [fields[i] for i in drawn]
    if given.what == "speed":
        speed([record_text(*record) for record in fields], given.rounds, given.ways)
    else:
        grown(fields, given.precision)


def read(pool: Path) -> list[tuple[str, str]]:
    """Return the instruction and the input of each distinct record."""
    with gzip.open(pool, "rt") if pool.suffix == ".gz" else pool.open() as lines:
        rows = map(json.loads, lines)
        return list(dict.fromkeys((row["instruction"], row.get("input") or "") for row in rows))


def speed(texts: list[str], n_rounds: int, names: Sequence[str]) -> None:
    """Compare some of the methods; cosines are to the vectors of the first method."""
    known = load_ways()
    ways = {name: known[name] for name in names}
    for encode in ways.values():
        encode(texts[:40])  # warm
    print("| round | method | seconds | CPU s | CPU, first / this | cosine mean | min |")
    print(f"|{'---|' * 7}")
    for turn in range(n_rounds):
        first, first_cpu_s = np.empty(0, np.float32), 0.0
        for name, encode in ways.items():
            start, cpu_start = time.perf_counter(), time.process_time()
            vectors = encode(texts)
            seconds, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
            if not first.size:
                first, first_cpu_s = vectors, cpu_s
            cosines = (vectors * first).sum(axis=1)
            print(
                f"| {turn + 1} | {name} | {seconds:.1f} | {cpu_s:.1f} | {first_cpu_s / cpu_s:.2f} "
                f"| {cosines.mean():.6f} | {cosines.min():.6f} |",
                flush=True,
            )


def load_ways() -> dict[str, Callable[[list[str]], Vectors]]:
    """Return the methods that embed texts, by name."""
    import torch  # noqa: PLC0415  takes seconds
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415

    from tasks.embed.sentence_encoder import N_THREADS, SentenceEncoder  # noqa: PLC0415

    section = load_yaml(PROJECT / "params.yaml")["embed"]
    source = find_model(section["model"])
    model = SentenceTransformer(source.name_or_folder, device="cpu")

    def plain(texts: list[str], n_threads: int) -> Vectors:
        torch.set_num_threads(n_threads)
        return np.asarray(model.encode(texts, batch_size=32, show_progress_bar=False))

    def ours(precision: Precision) -> Callable[[list[str]], Vectors]:
        encoder = SentenceEncoder(source, precision, section["max_tokens"], section["batch_tokens"])

        def encode(texts: list[str]) -> Vectors:
            vectors = np.empty((len(texts), encoder.dim), np.float32)
            for block in encode_all(
                (PoolText(str(i), text) for i, text in enumerate(texts)), encoder
            ):
                vectors[block.rows] = block.vectors
            return vectors

        return encode

    return {
        "plain": lambda texts: plain(texts, N_THREADS),
        "one-thread": lambda texts: plain(texts, 1),
        "float32": ours(Precision.FLOAT32),
        "bfloat16": ours(Precision.BFLOAT16),
    }


def grown(fields: list[tuple[str, str]], precision: Precision) -> None:
    """Run the step on a pool, then on a pool that is 1 % larger, then on the latter again."""
    row = {"output": None, "source": "pool", "extra": "{}"}
    pool = [
        {**row, "id": record_id(instruction, text), "instruction": instruction, "input": text}
        for instruction, text in fields
    ]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        shutil.copy(PROJECT / "dvc.yaml", root)
        params = load_yaml(PROJECT / "params.yaml")
        params["embed"]["precision"] = str(precision)
        (root / "params.yaml").write_text(json.dumps(params), encoding="utf-8")  # which is YAML
        for name in ("ingest", "dedupe"):
            (root / "data" / name).mkdir(parents=True)
        write_table(root / "data/ingest/pool.parquet", pool, POOL)
        print("| step, whole | texts | seconds | CPU s | peak MB |\n|---|---|---|---|---|")
        n_before = round(len(pool) / 1.01)
        for name, n in (("fresh", n_before), ("grown by 1 %", len(pool)), ("the same", len(pool))):
            unique = [{"id": record["id"]} for record in pool[:n]]
            write_table(root / "data/dedupe/unique.parquet", unique, UNIQUE)
            start = time.perf_counter()
            step = subprocess.Popen(
                [sys.executable, "-m", "tasks.embed"],
                cwd=root,
                env=os.environ | {"PYTHONPATH": str(PROJECT)},
                stderr=subprocess.DEVNULL,
            )
            _, status, usage = os.wait4(step.pid, 0)
            if status:
                sys.exit(f"the step ended with exit status {status}")
            print(
                f"| {name} | {n:,} | {time.perf_counter() - start:.1f} | "
                f"{usage.ru_utime + usage.ru_stime:.1f} | {usage.ru_maxrss / 1024:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
