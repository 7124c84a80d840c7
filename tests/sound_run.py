"""A sound run of a small pool, for tests to break."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tasks.lib.core import schemas
from tasks.lib.core.records import record_id
from tasks.lib.core.stage import Stage
from tasks.lib.documents.choice import Choice
from tasks.lib.documents.clusters import Clusters
from tasks.lib.documents.usage import Usage
from tasks.lib.documents.validation import Finding, ValidationResult
from tasks.validate.artifacts import Artifacts, Limits, summarise
from tasks.validate.step import validate
from tests.workspaces import StepWorkspace

LIMITS = Limits(
    n_selected=4,
    near_threshold=0.8,
    max_near_rate=0,
    max_fallback_rate=0.25,
    max_position_bias=0.3,
    max_attention_failures=0.1,
    min_agreement=0.2,
    is_judge_strict=True,
    max_chars=200,
)
SLOTS = {
    "is_shuffled": True,
    "n_prompts": 3,
    "observed": [2, 1],
    "expected": [1.5, 1.5],
    "position_bias": 0.2,
    "position_bias_by_chance": 0.2,
    "chi_square": 0.5,
    "df": 1,
    "p_value": 0.5,
}
AGREEMENT = {"n_prompts": 3, "same_first": 0.8, "by_chance": 0.5, "kappa": 0.6}
FAIR = {
    "route": "chatgpt",
    "fallback_routes": [],
    "model": "openai/some",
    "budget": 4,
    "n_prompts": 3,
    "n_prompts_planned": 3,
    "partial": None,
    "calls": 3,
    "prompt_tokens": 300,
    "completion_tokens": 30,
    "cached_tokens": 0,
    "reasoning_tokens": 0,
    "usd": 0.1,
    "usd_without_answer": 0.0,
    "replies_without_answer": {},
    "usd_without_reply": 0.0,
    "calls_without_reply": {},
    "n_unknown_usage": 0,
    "answers": {"chatgpt": 3},
    "answers_digest": "0" * 64,
    "dropped_params": {},
    "methods": {"llm": 3, "offline": 0, "fallback": 0},
    "set_aside": {},
    "slots": SLOTS,
    "agreement": AGREEMENT,
    "attention_checks_planned": 2,
    "attention_checks": {"gibberish": {"shown": 2, "picked": 0, "by_chance": 0.2}},
}
CLUSTERS = {
    "mode": "within",
    "solver": "balanced",
    "solver_reason": "as params.yaml says",
    "seed": 0,
    "n_earlier_prompts": 0,
    "n_clusters": 3,
    "candidates_per_prompt": 2,
    "inertia": 1.5,
    "cluster_sizes": [3, 2, 2],
}
NO_WISHES = {
    "n_selected": 4,
    "n_annotated": 0,
    "n_known": 0,
    "quotas": (),
    "targets": None,
    "weights": (),
}
FILES = {
    "pool": "ingest/pool.parquet",
    "ingest_dropped": "ingest/dropped.parquet",
    "annotated": "ingest/annotated.parquet",
    "held_out": "ingest/held_out.parquet",
    "unique": "dedupe/unique.parquet",
    "dedupe_dropped": "dedupe/dropped.parquet",
    "known": "dedupe/known.parquet",
    "prompts": "cluster/prompts.parquet",
    "ballots": "llm_select/ballots.parquet",
    "selected": "choose/selected.parquet",
}
INSTRUCTIONS = [
    "Explain why the sea is salty.",
    "Write a limerick about a tired postman and the bicycle of his youth.",
    "List three uses of beeswax.",
    "Translate the proverb into French.",
    "Who painted the ceiling of the Sistine Chapel?",
    "Suggest a name for a bakery run by twins.",
    "Summarise the plot of Hamlet for a child.",
    "Explain  why the sea is salty.",
    "Write a limerick about a tired postmann and the bicycle of his youth.",
]
Row = dict[str, Any]


def numbered(number: int) -> Row:
    instruction, text = INSTRUCTIONS[number], "Time heals." if number == 3 else ""
    fields = {"id": record_id(instruction, text), "instruction": instruction, "input": text}
    return {**fields, "output": None, "source": f"toy.jsonl:{number + 1}", "extra": "{}"}


@dataclass
class Run:
    """A sound run of 12 rows: 9 records, 7 of them unique, in 3 prompts, and 4 are selected.

    Tests change its rows to break it.
    """

    rows: dict[str, list[Row]]
    clusters: Row
    usage: Row
    choice: Row = field(default_factory=lambda: dict(NO_WISHES))
    vectors: Any = field(default_factory=lambda: np.eye(7, dtype=np.float32))
    n_rows: int = 12
    schemas: dict[str, pa.Schema] = field(
        default_factory=lambda: {name: getattr(schemas, name.upper()) for name in FILES}
    )

    def __getattr__(self, name: str) -> list[Row]:
        if name in FILES:
            return self.rows[name]
        raise AttributeError(name)

    def tables(self) -> dict[str, pa.Table]:
        return {
            name: pa.Table.from_pylist(self.rows[name], schema=schema)
            for name, schema in self.schemas.items()
        }

    def artifacts(self) -> Artifacts:
        norms = np.linalg.norm(self.vectors.astype(float), axis=1)
        facts = {"clusters": Clusters(**self.clusters), "usage": Usage(**self.usage)}
        facts["choice"] = Choice(**self.choice)
        tables = self.tables()
        tables["pool"] = summarise(self.schemas["pool"], tables["pool"].to_batches())
        return Artifacts(n_rows=self.n_rows, norms=norms, **tables, **facts)

    def write(self, root: Path) -> Stage:
        """Write the files of the run to a workspace; return the stage that reads them."""
        space = StepWorkspace(root)
        space.update(llm_select={"budget": LIMITS.n_selected})
        for name, table in self.tables().items():
            schema = self.schemas[name]
            if name == "pool":
                schema = schema.with_metadata({"n_rows": str(self.n_rows)})
            space.write(FILES[name], table, schema)
        np.save(space.file("embed/vectors.npy"), self.vectors)
        space.write_json("cluster/clusters.json", self.clusters)
        space.write_json("llm_select/usage.json", self.usage)
        space.write_json("choose/choice.json", self.choice)
        return Stage("validate", root)


def _ballot(record: Row, prompt: int, slot: int, rank: int | None) -> Row:
    score = 1 - (rank - 1) / 2 if rank else 0.0
    judged = {"prompt": prompt, "slot": slot, "rank": rank, "score": score}
    votes = {"votes": int(rank is not None), "method": "llm", "set_aside": None}
    return {"id": record["id"], **judged, **votes}


def _select(record: Row, ballot: Row) -> Row:
    judged = {name: value for name, value in ballot.items() if name != "set_aside"}
    by = {"gain": 0.1, "cluster": ballot["prompt"], "route": "chatgpt", "model": "openai/some"}
    return {**record, **judged, **by}


def sound() -> Run:
    records = [numbered(number) for number in range(9)]
    ids = [record["id"] for record in records]
    places = [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (3, 1), (3, 2)]
    ranks = [2, 1, None, 1, None, None, 1]
    ballots = [
        _ballot(record, *place, rank)
        for record, place, rank in zip(records[:7], places, ranks, strict=True)
    ]
    return Run(
        rows={
            "pool": records,
            "ingest_dropped": [
                {"file": "pool.jsonl", "line": 10, "reason": "excluded", "detail": "split is test"},
                {"file": "pool.jsonl", "line": 11, "reason": "repeated", "detail": "line 1"},
                {"file": "pool.jsonl", "line": 12, "reason": "nul", "detail": "instruction"},
            ],
            "annotated": [],
            "held_out": [],
            "known": [],
            "unique": [{"id": id_} for id_ in ids[:7]],
            "dedupe_dropped": [
                {"id": ids[7], "reason": "identical", "of_id": ids[0], "similarity": 1.0},
                {"id": ids[8], "reason": "near", "of_id": ids[1], "similarity": 0.95},
            ],
            "prompts": [
                {"prompt": prompt, "slot": slot, "id": id_, "cluster": prompt}
                for id_, (prompt, slot) in zip(ids[:7], places, strict=True)
            ],
            "ballots": ballots,
            "selected": [_select(records[n], ballots[n]) for n in (1, 3, 6, 0)],
        },
        clusters={**CLUSTERS, "n_records": 7, "n_prompts": 3},
        usage=dict(FAIR),
    )


@pytest.fixture(scope="session")
def sound_result() -> ValidationResult:
    """Validate a sound run, and import Great Expectations without its warnings."""
    return validate(sound().artifacts(), LIMITS).result


def findings_of(run: Run, table: str) -> list[Finding]:
    """Return the findings of one table without checking the others, which takes longer."""
    from tasks.validate.expectations import suites  # noqa: PLC0415
    from tasks.validate.gx import run_gx  # noqa: PLC0415
    from tasks.validate.pool_tables import pool_tables  # noqa: PLC0415
    from tasks.validate.selection_tables import selection_tables  # noqa: PLC0415

    artifacts = run.artifacts()
    tables = pool_tables(artifacts, LIMITS) | selection_tables(artifacts, LIMITS)
    return run_gx({table: tables[table]}, {table: suites(LIMITS)[table]}).findings


IDS = [numbered(number)["id"] for number in range(9)]
BIASED = {**SLOTS, "position_bias": 0.93, "p_value": 0.0}
