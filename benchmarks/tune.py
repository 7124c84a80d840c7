"""Measure the speed and memory use of training in `selectllm evaluate`, and if it is repeatable.

    python benchmarks/tune.py MODEL POOL [N_RECORDS]

It trains one model on the first records of a pool with outputs, twice with our code and once with
a plain loop in torch with batches of the same size, each in its own process. It prints tokens per
second, the peak memory, and whether both adapters from our code are byte-identical. It needs
selectllm[train].
"""

import hashlib
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

from tasks.evaluate.params import TuningPrecision, check
from tasks.evaluate.tune.language_model import Machine, load_model, load_tokenizer
from tasks.evaluate.tune.prompts import Example, tokenize
from tasks.evaluate.tune.train import ADAPTER_FILE, IGNORED, Recipe, save_adapter, train
from tasks.ingest.classify_rows import Ingest
from tasks.ingest.reference_files import NamedFile, read_named_file
from tasks.lib.core.params import load_section, read_params

SEED = 0
Tick = tuple[float, float]  # seconds of the clock and of the processor
CHANGES = {"epochs": 1, "batch_records": 4, "max_tokens": 384}
VALUES = read_params(Path("params.yaml"))
PARAMS = check(VALUES | {"evaluate": VALUES["evaluate"] | CHANGES})


def now() -> Tick:
    """Return the time, and the processor time of all threads."""
    return time.monotonic(), time.process_time()


def examples_of(model: str, pool: str, n: int) -> tuple[Any, list[Example]]:
    """Return the tokenizer, and the tokens of the first records of a pool that have an output."""
    tokenizer = load_tokenizer(model)
    file = NamedFile("POOL", Path(pool), "none")
    records = read_named_file(file, load_section(VALUES, "ingest", Ingest))
    usable = ({**record, "id": str(n)} for n, record in enumerate(records) if record["output"])
    return tokenizer, [tokenize(r, tokenizer, PARAMS.max_tokens) for r in islice(usable, n)]


def ours(model: str, pool: str, n: int) -> dict[str, Any]:
    """Train by our code; return the seconds from the first step on, and the adapter's hash."""
    machine = Machine.find(TuningPrecision.AUTO)
    tokenizer, examples = examples_of(model, pool, n)
    ticks: list[Tick] = []
    recipe = Recipe(
        PARAMS,
        machine,
        lambda: load_model(model, machine),
        tokenizer,
        lambda: ticks.append(now()),
    )
    trained = train(examples, SEED, recipe)
    with tempfile.TemporaryDirectory() as folder:
        save_adapter(trained, Path(folder) / "adapter")
        weights = (Path(folder) / "adapter" / ADAPTER_FILE).read_bytes()
    return {"ticks": ticks, "adapter": hashlib.sha256(weights).hexdigest()[:16]}


def plain(model: str, pool: str, n: int) -> dict[str, Any]:
    """Train by a plain loop with the same batches, in the order of the records."""
    import torch  # noqa: PLC0415
    from peft import LoraConfig, get_peft_model  # noqa: PLC0415

    machine = Machine.find(TuningPrecision.AUTO)
    _, examples = examples_of(model, pool, n)
    rank = PARAMS.lora_rank
    lora = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    tuned = get_peft_model(load_model(model, machine), lora).train()
    weights = [weight for weight in tuned.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=PARAMS.learning_rate)
    ticks = []
    for start in range(0, len(examples), PARAMS.batch_records):
        for example in examples[start : start + PARAMS.batch_records]:
            ids = torch.tensor([example.prompt + example.answer], device=machine.device)
            labels = ids.clone()
            labels[0, : len(example.prompt)] = IGNORED
            with machine.autocast():
                loss = tuned(input_ids=ids, labels=labels).loss / PARAMS.batch_records
            loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        ticks.append(now())
    return {"ticks": ticks}


def measure(queue: Any, work: Any, *arguments: Any) -> None:
    """Do the work in this process, and report it with its peak memory."""
    found = work(*arguments)
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    queue.put(found | {"peak_mb": peak_kb / 1024})


def main(model: str, pool: str, n_records: int = 200) -> None:
    """Print the figures as lines of JSON."""
    _, examples = examples_of(model, pool, n_records)
    lengths = [len(example.prompt) + len(example.answer) for example in examples]
    context = multiprocessing.get_context("spawn")
    adapters = []
    for name, work in (("ours", ours), ("plain loop", plain), ("ours again", ours)):
        queue = context.Queue()
        process = context.Process(target=measure, args=(queue, work, model, pool, n_records))
        process.start()
        found = queue.get()
        process.join()
        (first_s, first_cpu_s), (last_s, last_cpu_s) = found["ticks"][0], found["ticks"][-1]
        n_tokens = sum(lengths) * (
            1 - PARAMS.batch_records / len(lengths)
        )  # the first step warms up
        adapters.append(found.get("adapter"))
        print(
            json.dumps(
                {
                    "by": name,
                    "records": len(lengths),
                    "tokens": sum(lengths),
                    "tokens_per_s": round(n_tokens / (last_s - first_s), 1),
                    "tokens_per_cpu_s": round(n_tokens / (last_cpu_s - first_cpu_s), 1),
                    "peak_mb": round(found["peak_mb"]),
                }
            ),
            flush=True,
        )
    print(json.dumps({"same_bytes": adapters[0] == adapters[2]}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:4]))
