"""Measure the work that is left to a step's own process when Ray's workers process its shards.

    python benchmarks/engine.py POOL.jsonl local
    python benchmarks/engine.py POOL.jsonl ray
    python benchmarks/engine.py POOL.jsonl ray --embed -S embed.precision=bfloat16

This is the processor time of the driver alone, with the cluster already running; more workers
cannot reduce it. The table also shows a digest of the outputs. Embed is slow, so it is measured
only with --embed.
"""

import argparse
import hashlib
import tempfile
import time
from pathlib import Path

from stages import copy_workspace

from flows.dvc import overrides
from tasks.dedupe import step as dedupe
from tasks.embed import step as embed
from tasks.ingest import step as ingest
from tasks.lib.core.stage import Stage
from tasks.lib.executor import Executor


def main() -> None:
    """Measure, and print a table in Markdown."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("pool", type=Path)
    arguments.add_argument("engine", type=Executor)
    arguments.add_argument("--embed", action="store_true", help="also measure embed")
    arguments.add_argument("-S", action="append", default=[], metavar="KEY=VALUE", dest="values")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        copy_workspace(root)
        source = given.pool.resolve()
        values = [f"engine={given.engine}", f"ingest.source={source}", *given.values]
        overrides.apply(root, values)
        Stage("ingest", root).run(ingest.work)
        steps = {"dedupe": dedupe}
        if given.embed:
            import tasks.embed.sentence_encoder  # noqa: F401, PLC0415  so that its seconds do not count

            steps["embed"] = embed
        list(given.engine.map(abs, range(8)))
        print("| step | driver's CPU s | seconds | outputs |\n|---|---|---|---|")
        for name, step in steps.items():
            cpu, clock = time.process_time(), time.perf_counter()
            Stage(name, root).run(step.work)
            cpu_s, seconds = time.process_time() - cpu, time.perf_counter() - clock
            outputs = b"".join(p.read_bytes() for p in sorted((root / "data" / name).iterdir()))
            digest = hashlib.sha256(outputs).hexdigest()[:16]
            print(f"| {name} | {cpu_s:.1f} | {seconds:.1f} | {digest} |", flush=True)


if __name__ == "__main__":
    main()
