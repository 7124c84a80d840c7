"""Compare our ingest and dedupe with datasketch's MinHashLSH on planted near-duplicates.

    python benchmarks/records.py POOL.jsonl.gz 1000000 --truth TRUTH.csv
    python benchmarks/dedupe.py POOL.jsonl.gz TRUTH.csv --yardstick 100000

Each step runs in its own process, and imports count. datasketch does what its documentation shows:
for each record, it queries and then inserts a MinHash of the text's pieces of five characters, with
the same threshold and number of permutations, and without an exact comparison. Since it is slow, it
can be limited to the pool's first records: its time and memory grow in proportion to the records.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from functools import cache
from itertools import groupby, islice
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
from stages import PROJECT, copy_workspace

from flows.dvc import overrides
from tasks.lib.text.shingles import DENSE, field_texts
from tasks.lib.text.typography import comparable

FIELDS = "instruction", "input"
THRESHOLD, N_PERMUTATIONS = 0.8, 128


class Cost(NamedTuple):
    """The cost of one process."""

    cpu_s: float
    peak_mb: float


class Quality(NamedTuple):
    """How good the drops are, judged by the truth about the pool.

    Attributes:
        recall: Share of the planted near-duplicates that were dropped.
        decoys: Number of decoys that were dropped.
        strangers: Number of records dropped as duplicates of a record with another original.
        unlike: Number of records dropped as duplicates of a record whose similarity, computed with
            Python's sets, is below the threshold.
    """

    recall: float
    decoys: int
    strangers: int
    unlike: int


def main() -> None:
    """Measure, and print a table in Markdown."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("pool", type=Path)
    arguments.add_argument("truth", type=Path, nargs="?")
    arguments.add_argument("--yardstick", type=int, default=100_000, help="records for datasketch")
    arguments.add_argument("--datasketch-only", action="store_true", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.datasketch_only:
        datasketch(given.pool, given.yardstick)
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        copy_workspace(root)
        overrides.apply(root, [f"ingest.source={given.pool.resolve()}"])
        ours = {name: _cost(["-m", f"tasks.{name}"], root) for name in ("ingest", "dedupe")}
        quality = judge(root / "data", given.truth)
        pool = root / "data/ingest/pool.parquet"
        n = pq.ParquetFile(pool).metadata.num_rows
        n_theirs = min(n, given.yardstick)
        theirs = _cost(
            [__file__, str(pool), "--yardstick", str(n_theirs), "--datasketch-only"], PROJECT
        )
    print("| step | records | CPU s | CPU s per million | peak MB |\n|---|---|---|---|---|")
    for name, cost, of in (*((s, c, n) for s, c in ours.items()), ("datasketch", theirs, n_theirs)):
        print(f"| {name} | {of:,} | {cost.cpu_s:.1f} | {cost.cpu_s / of * 1e6:.0f} ", end="")
        print(f"| {cost.peak_mb:.0f} |")
    ratio = theirs.cpu_s / n_theirs / (ours["dedupe"].cpu_s / n)
    print(f"\nCPU time per record, datasketch divided by ours: {ratio:.1f}; {quality}")


def datasketch(pool: Path, n: int) -> None:
    """Look up each of the first `n` records among the earlier ones in datasketch's index."""
    from datasketch import MinHash, MinHashLSH  # noqa: PLC0415

    index = MinHashLSH(threshold=THRESHOLD, num_perm=N_PERMUTATIONS)
    batches = pq.ParquetFile(pool).iter_batches(1000, columns=list(FIELDS))
    rows = islice((row for batch in batches for row in batch.to_pylist()), n)
    for number, row in enumerate(rows):
        text = " ".join(f"{row['instruction']} {row['input']}".casefold().split())
        pieces = {text[i : i + 5] for i in range(max(1, len(text) - 4))}
        minhash = MinHash(N_PERMUTATIONS)
        minhash.update_batch([piece.encode() for piece in sorted(pieces)])
        index.query(minhash)
        index.insert(number, minhash, check_duplication=False)


def judge(data: Path, truth: Path) -> Quality:
    """Return the quality of the drops of the steps under `data`."""
    columns = ["id", *FIELDS, "source"]
    pool = pq.read_table(data / "ingest/pool.parquet", columns=columns).to_pydict()
    places = {id_: place for place, id_ in enumerate(pool["id"])}
    lines = [int(source.rpartition(":")[2]) for source in pool["source"]]
    planted = {int(row["line"]): row for row in csv.DictReader(truth.open(encoding="utf-8"))}
    origins = {line: int(row["of_line"]) for line, row in planted.items()}
    near = {line for line, row in planted.items() if row["kind"] == "near"}
    dropped = pq.read_table(data / "dedupe/dropped.parquet").to_pylist()
    pairs = [(places[row["id"]], places[row["of_id"]]) for row in dropped]
    gone = {lines[place] for place, _ in pairs}
    gone.update(pq.read_table(data / "ingest/dropped.parquet")["line"].to_pylist())
    decoys = strangers = unlike = 0
    for a, b in pairs:
        line, kept_line = lines[a], lines[b]
        decoys += line in planted and line not in near
        strangers += origins.get(line, line) != origins.get(kept_line, kept_line)
        records = [comparable(*(pool[name][place] for name in FIELDS)) for place in (a, b)]
        both = [map(_pieces, field_texts([record])) for record in records]
        unlike += min(len(x & y) / len(x | y) for x, y in zip(*both, strict=True)) < THRESHOLD
    return Quality(len(gone & near) / len(near), decoys, strangers, unlike)


def _pieces(text: str) -> set[str]:
    """Return pieces of five characters, or of two in scripts of syllables or words."""
    pieces = set()
    for is_dense, run in groupby(text.casefold(), _is_dense):
        characters, width = "".join(run), 2 if is_dense else 5
        pieces |= {characters[i : i + width] for i in range(max(1, len(characters) - width + 1))}
    return pieces or {""}


@cache
def _is_dense(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in DENSE)


def _cost(arguments: list[str], folder: Path) -> Cost:
    """Run Python with `arguments` and the project's modules; return the cost."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(PROJECT)])}
    process = subprocess.Popen([sys.executable, *arguments], cwd=folder, env=env)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(status)
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


if __name__ == "__main__":
    main()
