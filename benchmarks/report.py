"""Measure the time, peak memory and size of a made-up pool's report, for the largest page.

    python benchmarks/report.py 50000 3000

Texts are long, in several scripts and full of characters that must be escaped. Thirteen methods
have curves of sixteen metrics at eight sizes.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.lib.core.records import record_id
from tasks.lib.core.schemas import BALLOTS, DEDUPE_DROPPED, INGEST_DROPPED, POOL, PROMPTS, SELECTED
from tasks.lib.documents.clusters import Clusters
from tasks.lib.documents.metrics import SPACES, Metrics
from tasks.lib.documents.savings import Equivalent, Savings
from tasks.lib.documents.usage import Usage
from tasks.lib.documents.validation import ValidationResult
from tasks.lib.similarity.corpus import Corpus
from tasks.report.inputs import ReportInputs
from tasks.report.step import Report, report

R = 14
WORDS = [
    *("<script>", "&amp;", "naïve", "指示を書く", "напишите"),
    *("🥨", '"quoted"', "an answer", "\n"),
]
MEASURES = (
    *("coverage_mean", "coverage_p95", "coverage_max", "facility_location"),
    *("redundancy", "vendi", "knn_probe_rouge_l", "knn_probe_cosine"),
)
METHODS = ["llm_select", "random", *(f"method_{i}" for i in range(11))]
SIZES = [2**i for i in range(8)]
NO_ANSWERS: dict[str, Any] = {"ballots": [], "answers": []}


def main() -> None:
    """Make the inputs, then measure the report alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n_records", type=int)
    parser.add_argument("budget", type=int)
    given = parser.parse_args()
    with tempfile.NamedTemporaryFile() as judgements:
        inputs = made_up(given.n_records, given.budget, Path(judgements.name))
        start, start_cpu = time.monotonic(), time.process_time()
        page = report(inputs, Report(max_points=5000, n_prompts=4, n_examples=3), seed=0)
    seconds, cpu = time.monotonic() - start, time.process_time() - start_cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = len(page.encode()) / 1e6
    print(f"{size:.2f} MB, {cpu:.1f} s of CPU, {seconds:.1f} s, peak {peak:.0f} MB")


def made_up(n: int, budget: int, judgements: Path) -> ReportInputs:
    """Return a run on `n` records, with vectors around one centre per prompt."""
    rng = np.random.default_rng(0)
    texts = [f"{i} " + " ".join(rng.choice(WORDS, 120)) for i in range(n)]
    ids = [record_id(text, "") for text in texts]
    groups = np.arange(n) // R
    vectors = rng.normal(size=(groups[-1] + 1, 384))[groups] + rng.normal(size=(n, 384))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    blank = {"input": "", "output": None, "source": "made:1", "extra": "{}"}
    pool = [{"id": i, "instruction": t, **blank} for i, t in zip(ids, texts, strict=True)]
    places = {"cluster": groups + 1, "prompt": groups + 1, "slot": np.arange(n) % R + 1}
    chosen = np.sort(rng.permutation(n)[:budget])
    picks = [
        {"id": ids[i], "prompt": int(groups[i]) + 1, "slot": i % R + 1, "cluster": int(groups[i])}
        | {"rank": 1, "score": 1.0, "votes": 1, "method": "llm", "gain": 0.001}
        | {"route": "made", "model": "made"}
        for i in chosen.tolist()
    ]
    rest = {"route": "made", "model": "made", "reasons": {}, "set_aside": {}, **NO_ANSWERS}
    numbers = sorted({pick["prompt"] for pick in picks})
    lines = [{"prompt": n, "ids": ids[(n - 1) * R : n * R], **rest} for n in numbers]
    judgements.write_text("".join(json.dumps(line) + "\n" for line in lines))
    unranked = {"rank": None, "score": 0.0, "votes": 0, "method": "llm"}
    ranked = {pick["id"]: pick for pick in picks}
    ballots = [
        {"id": id_, "prompt": int(groups[i]) + 1, "slot": i % R + 1}
        | {name: ranked.get(id_, unranked)[name] for name in unranked}
        for i, id_ in enumerate(ids)
    ]
    lost = {"reason": "near", "of_id": ids[0], "similarity": 0.9}
    return ReportInputs(
        corpus=Corpus(ids, texts, [None] * n, ["{}"] * n, vectors.astype(np.float32)),
        pool=pa.Table.from_pylist(pool, POOL),
        dropped=pa.Table.from_pylist(
            [{"line": 1, "reason": "nul", "detail": texts[0]}], INGEST_DROPPED
        ),
        duplicates=pa.Table.from_pylist([{"id": id_, **lost} for id_ in ids[1:9]], DEDUPE_DROPPED),
        prompts=pa.table({"id": ids, **places}).select(PROMPTS.names).cast(PROMPTS),
        prompt_rows=np.arange(n),
        ballots=pa.Table.from_pylist(ballots, BALLOTS),
        selected=pa.Table.from_pylist(
            [pool[i] | p for i, p in zip(chosen, picks, strict=True)], SELECTED
        ),
        rows=chosen,
        judgements=judgements,
        others={name: rng.permutation(n)[:budget] for name in METHODS[1:]},
        clusters=Clusters.model_validate(_clusters(n)),
        usage=Usage.model_validate(_usage(n, budget)),
        metrics=Metrics.model_validate(_metrics(budget)),
        savings=Savings(
            n_selected=budget,
            min_size=budget // 8,
            max_size=4 * budget,
            coverage={"words": Equivalent(n_random=budget, low=budget, high=budget)},
            student=None,
            saved=0,
            saved_percent=0,
            stop={},
        ),
        validation=ValidationResult.model_validate(_validation(n, budget)),
        params={"llm_select.take": "first"},
        hashes={},
    )


def _clusters(n: int) -> dict[str, Any]:
    return {
        **{"mode": "across", "solver": "balanced", "solver_reason": "made up", "seed": 0},
        **{"n_records": n, "n_prompts": n // R, "n_clusters": R, "candidates_per_prompt": R},
        **{"inertia": 1.0, "cluster_sizes": [n // R] * R},
    }


def _usage(n: int, budget: int) -> dict[str, Any]:
    slots = {
        **{"is_shuffled": True, "n_prompts": n // R, "position_bias": 0.1},
        **{"observed": [n // R**2] * R, "expected": [n / R**2] * R},
        **{"position_bias_by_chance": 0.1, "chi_square": 1.0, "df": R - 1, "p_value": 0.5},
    }
    return {
        **{"route": "made", "model": "made", "budget": budget, "partial": None},
        **{"n_prompts": n // R, "n_prompts_planned": n // R},
        **{"calls": n // R, "prompt_tokens": n, "completion_tokens": n, "usd": 1.0},
        **{"cached_tokens": 0, "reasoning_tokens": 0, "usd_without_answer": 0.0},
        **{"replies_without_answer": {}, "usd_without_reply": 0.0, "calls_without_reply": {}},
        **{"n_unknown_usage": 0, "fallback_routes": [], "answers": {}, "answers_digest": "0" * 64},
        **{"dropped_params": {}, "methods": {"offline": 0}, "set_aside": {}},
        **{"attention_checks_planned": 0, "attention_checks": {}, "slots": slots},
        "agreement": {"n_prompts": 0, "same_first": None, "by_chance": None, "kappa": None},
    }


def _validation(n: int, budget: int) -> dict[str, Any]:
    losses = dict.fromkeys(("excluded", "faulty", "repeated", "duplicates"), 0)
    kept = {"rows": n, "pool": n, "unique": n, "selected": budget, "prompts": n // R}
    return {
        **{"success": True, "partial": None, "dropped": {}, "expectations": []},
        "funnel": losses | kept,
    }


def _metrics(budget: int) -> dict[str, Any]:
    figure = {"value": 0.123456, "interval": [0.112345, 0.134567], "p_random": 0.5}
    space = dict.fromkeys(MEASURES, figure)
    cost = {"calls": 0, "prompt_tokens": 0, "completion_tokens": 0, "usd": 0}
    entry = {"n_records": budget, "n_seeds": 1, "chose_in": [], "text": {}}
    entry |= dict.fromkeys(SPACES, space)
    line = [[0.123456, 0.112345, 0.134567]] * len(SIZES)
    lines = {f"{space}.{name}": line for space in SPACES for name in MEASURES}
    return {
        "methods": {name: entry | {"cost": cost} for name in METHODS},
        "overlap": {"methods": [], "jaccard": []},
        "lower_is_better": MEASURES[:3],
        "higher_is_better": MEASURES[3:],
        "curves": {"sizes": SIZES, "methods": dict.fromkeys(METHODS, lines)},
    }


if __name__ == "__main__":
    main()
