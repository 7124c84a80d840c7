"""Validate: a sound run passes, and each thing that can be wrong is found and named."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from tasks.checks.artifacts import DEDUPE_REASONS, Artifacts, Limits, row_norms
from tasks.checks.near import find_twins
from tasks.checks.verdict import Finding, Verdict
from tasks.core import schemas
from tasks.core.errors import CheckFailed, DataError, ParamError
from tasks.core.records import record_id
from tasks.core.stage import Stage
from tasks.core.tables import write_table
from tasks.dedupe import Drop
from tasks.text.meaning import Meaning
from tasks.text.shingles import jaccard, normalise, shingles
from tasks.validate import check, validate, work

PROJECT = Path(__file__).parent.parent
LIMITS = Limits(
    n_selected=4,
    budgets=(4,),
    is_partial=False,
    near_threshold=0.8,
    max_fallback_rate=0.25,
    max_slot_bias=0.3,
    max_canary_rate=0.1,
    min_agreement=0.2,
    is_judge_strict=True,
    max_chars=200,
)
FAIR = {
    "partial": None,
    "slots": {"is_shuffled": True, "slot_bias": 0.2, "p_value": 0.5},
    "agreement": {"kappa": 0.6},
    "canaries": {"gibberish": {"shown": 2, "picked": 0, "by_chance": 0.2}},
}
FILES = {
    "pool": "ingest/pool.parquet",
    "ingest_dropped": "ingest/dropped.parquet",
    "unique": "dedupe/unique.parquet",
    "dedupe_dropped": "dedupe/dropped.parquet",
    "prompts": "cluster/prompts.parquet",
    "picks": "llm_select/picks.parquet",
    "selected": "llm_select/selected.parquet",
}
INSTRUCTIONS = [
    "Explain why the sea is salty.",
    "Write a limerick about a tired postman and the bicycle of his youth.",
    "List three uses of beeswax.",
    "Translate the proverb into French.",
    "Who painted the ceiling of the Sistine Chapel?",
    "Suggest a name for a bakery run by twins.",
    "Summarise the plot of Hamlet for a child.",
    "EXPLAIN  why the sea is salty.",
    "Write a limerick about a tired postmann and the bicycle of his youth.",
]

Row = dict[str, Any]


def _record(number: int) -> Row:
    instruction, text = INSTRUCTIONS[number], "Time heals." if number == 3 else ""
    new_id = record_id(instruction, text)
    source = f"toy.jsonl:{number + 1}"
    return {
        "id": new_id,
        "instruction": instruction,
        "input": text,
        "output": None,
        "source": source,
        "extra": "{}",
    }


@dataclass
class Run:
    """A sound run of 12 rows: 9 records, 7 of them unique, in 3 prompts, of which 4 are picked.

    Tests change its rows to break it.
    """

    rows: dict[str, list[Row]]
    clusters: Row
    usage: Row
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
        facts = {"clusters": self.clusters, "usage": self.usage}
        return Artifacts(n_rows=self.n_rows, norms=norms, **self.tables(), **facts)

    def write(self, root: Path) -> Stage:
        """The workspace of the run, and the stage that reads it."""
        data = root / "data"
        for path in [*FILES.values(), "embed/vectors.npy"]:
            (data / path).parent.mkdir(parents=True, exist_ok=True)
        for name, table in self.tables().items():
            schema = self.schemas[name]
            if name == "pool":
                schema = schema.with_metadata({"n_rows": str(self.n_rows)})
            write_table(data / FILES[name], table, schema)
        np.save(data / "embed/vectors.npy", self.vectors)
        (data / "cluster/clusters.json").write_text(json.dumps(self.clusters))
        (data / "llm_select/usage.json").write_text(json.dumps(self.usage))
        (root / "dvc.yaml").write_bytes((PROJECT / "dvc.yaml").read_bytes())
        params = YAML(typ="safe").load(PROJECT / "params.yaml")
        params["llm_select"]["budget"] = LIMITS.n_selected
        YAML(typ="safe").dump(params, root / "params.yaml")
        return Stage("validate", root)


def _pick(record: Row, place: tuple[int, int, int, int]) -> Row:
    names = ("round", "prompt", "slot", "rank")
    placed = dict(zip(names, place, strict=True))
    return {"id": record["id"], **placed, "votes": 1, "method": "llm"}


def _select(record: Row, pick: Row, cluster: int) -> Row:
    return {**record, **pick, "cluster": cluster, "route": "chatgpt", "model": "openai/some"}


def sound() -> Run:
    records = [_record(number) for number in range(9)]
    ids = [record["id"] for record in records]
    places = [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (3, 1), (3, 2)]
    picks = [
        _pick(records[1], (1, 1, 2, 1)),
        _pick(records[0], (1, 1, 1, 2)),
        _pick(records[3], (1, 2, 1, 1)),
        _pick(records[6], (1, 3, 2, 1)),
    ]
    by_preference = [(1, picks[0], 1), (3, picks[2], 2), (6, picks[3], 3), (0, picks[1], 1)]
    return Run(
        rows={
            "pool": records,
            "ingest_dropped": [
                {"line": 10, "reason": "excluded", "detail": "split is test"},
                {"line": 11, "reason": "repeated", "detail": "line 1"},
                {"line": 12, "reason": "nul", "detail": "instruction"},
            ],
            "unique": [{"id": one} for one in ids[:7]],
            "dedupe_dropped": [
                {"id": ids[7], "reason": "identical", "of_id": ids[0], "similarity": 1.0},
                {"id": ids[8], "reason": "near", "of_id": ids[1], "similarity": 0.95},
            ],
            "prompts": [
                {"prompt": prompt, "slot": slot, "id": one, "cluster": prompt}
                for one, (prompt, slot) in zip(ids[:7], places, strict=True)
            ],
            "picks": picks,
            "selected": [_select(records[n], pick, cluster) for n, pick, cluster in by_preference],
        },
        clusters={"n_records": 7, "n_prompts": 3},
        usage={
            **FAIR,
            "selected": 4,
            "methods": {"llm": 4, "rubric": 0, "fallback": 0},
            "rounds": [{"round": 1, "n_prompts": 3, "n_candidates": 7, "n_picks": 4}],
        },
    )


def tournament() -> Run:
    """The same pool with a budget of 2, under its 3 prompts: their winners meet once more."""
    run = sound()
    records = {record["id"]: record for record in run.pool}
    first = [dict(pick) for pick in run.picks if pick["rank"] == 1]
    final = [
        _pick(records[first[2]["id"]], (2, 1, 3, 1)),
        _pick(records[first[0]["id"]], (2, 1, 1, 2)),
    ]
    run.rows["picks"] = first + final
    run.rows["selected"] = [
        _select(records[final[0]["id"]], final[0], 3),
        _select(records[final[1]["id"]], final[1], 1),
    ]
    run.usage = {
        **FAIR,
        "selected": 2,
        "methods": {"llm": 2, "rubric": 0, "fallback": 0},
        "rounds": [
            {"round": 1, "n_prompts": 3, "n_candidates": 7, "n_picks": 3},
            {"round": 2, "n_prompts": 1, "n_candidates": 3, "n_picks": 2},
        ],
    }
    return run


def examined(run: Run, table: str) -> list[Finding]:
    """The findings of one table, without the time that the others take."""
    from tasks.checks.examine import examine  # noqa: PLC0415
    from tasks.checks.pool_tables import pool_tables  # noqa: PLC0415
    from tasks.checks.selection_tables import selection_tables  # noqa: PLC0415
    from tasks.checks.suite import suites  # noqa: PLC0415

    artifacts = run.artifacts()
    tables = pool_tables(artifacts, LIMITS) | selection_tables(artifacts, LIMITS)
    return examine({table: tables[table]}, {table: suites(LIMITS)[table]}).findings


@pytest.fixture(scope="session")
def verdict() -> Verdict:
    return validate(sound().artifacts(), LIMITS)


@dataclass(frozen=True)
class Fault:
    """A change to a sound run, what it breaks in a table, and what the message then names."""

    table: str
    breaks: tuple[str, ...]
    named: str
    change: Callable[[Run], object]

    def __str__(self) -> str:
        return f"{self.table}: {self.breaks[0]}"


def put(table: str, index: int, **cells: Any) -> Callable[[Run], object]:
    return lambda run: run.rows[table][index].update(cells)


def repeat(table: str, index: int) -> Callable[[Run], object]:
    return lambda run: run.rows[table].append(dict(run.rows[table][index]))


def lose(table: str, index: int) -> Callable[[Run], object]:
    return lambda run: run.rows[table].pop(index)


def add_a_column_to_the_pool(run: Run) -> None:
    run.schemas["pool"] = schemas.POOL.append(pa.field("mood", pa.string()))


def swap_the_first_and_the_last_selected(run: Run) -> None:
    run.selected[0], run.selected[3] = run.selected[3], run.selected[0]


def fall_back_twice(run: Run) -> None:
    for row in run.selected[:2]:
        row["method"] = "fallback"


IDS = [_record(number)["id"] for number in range(9)]
NOWHERE = "f" * 16
HASH = "Each id is the hash of its record's text"
RANKS_END = "Ranks end with the number of picks"
OF_SLOT = "Each pick is of the slot that showed it"
NEAR = "No two texts are near-duplicates"
NAMED = {"votes": "number of votes"}
GOES_BY_TEXT = "The judge goes by the texts, not by slots, and not by chance"
BIASED = {"is_shuffled": True, "slot_bias": 0.93, "p_value": 0.0}
PROVENANCE = ("round", "prompt", "slot", "rank", "votes", "method")

FAULTS = [
    Fault("stages", ("Rows in are rows kept plus rows dropped",), "dedupe", lose("unique", 6)),
    Fault(
        "told",
        ("The numbers that stages tell are those one counts",),
        "what n_prompts of clusters.json, counted 3, told 9",
        lambda run: run.clusters.update(n_prompts=9),
    ),
    Fault(
        "told",
        ("The numbers that stages tell are those one counts",),
        "what prompts with picks of round 1, counted 2, told 3",
        put("picks", 2, prompt=1, rank=3),
    ),
    Fault("pool", ("The columns are those of a pool",), "mood", add_a_column_to_the_pool),
    Fault("pool", ("No id is absent",), "1 of 9 rows", put("pool", 2, id=None)),
    Fault("pool", ("No instruction is absent", HASH), IDS[2], put("pool", 2, instruction=None)),
    Fault("pool", ("No id occurs twice",), IDS[2], repeat("pool", 2)),
    Fault("pool", ("Each id is 16 hexadecimal digits", HASH), "X1", put("pool", 2, id="X1")),
    Fault("pool", (HASH,), IDS[2], put("pool", 2, instruction="List two uses of beeswax.")),
    Fault(
        "ingest_dropped",
        ("Each dropped row has a known reason",),
        "line 11, reason boring",
        put("ingest_dropped", 1, reason="boring"),
    ),
    Fault(
        "dedupe_dropped",
        ("Each duplicate has a known reason",),
        f"id {IDS[8]}, reason boring",
        put("dedupe_dropped", 1, reason="boring"),
    ),
    Fault("dedupe_dropped", ("No record is dropped twice",), IDS[7], repeat("dedupe_dropped", 0)),
    Fault(
        "dedupe_dropped",
        ("Each duplicate is of the pool",),
        NOWHERE,
        put("dedupe_dropped", 0, id=NOWHERE),
    ),
    Fault(
        "dedupe_dropped",
        ("No duplicate is kept as well",),
        IDS[3],
        put("dedupe_dropped", 0, id=IDS[3]),
    ),
    Fault(
        "dedupe_dropped",
        ("The original of each duplicate is kept",),
        IDS[7],
        put("dedupe_dropped", 0, of_id=IDS[8]),
    ),
    Fault(
        "dedupe_dropped",
        ("Each similarity is between 0 and 1",),
        "similarity 1.5",
        put("dedupe_dropped", 0, similarity=1.5),
    ),
    Fault("unique", ("No record is kept twice",), IDS[5], repeat("unique", 5)),
    Fault(
        "unique",
        ("Each kept record is of the pool", "Each kept record stands in exactly one slot"),
        NOWHERE,
        put("unique", 5, id=NOWHERE),
    ),
    Fault(
        "unique",
        ("Each kept record stands in exactly one slot",),
        f"2 of 7 rows: id {IDS[4]}, n_slots 0; id {IDS[5]}, n_slots 2",
        put("prompts", 4, id=IDS[5]),
    ),
    Fault(
        "vectors",
        ("Each vector is finite",),
        "row 3",
        lambda run: run.vectors.__setitem__((2, 0), np.nan),
    ),
    Fault(
        "vectors",
        ("Each vector has unit norm",),
        "row 3, norm 2",
        lambda run: run.vectors.__setitem__(2, 2 * run.vectors[2]),
    ),
    Fault(
        "prompts",
        ("Prompts are numbered from 1 without gaps",),
        "prompt 4, expected 3",
        lambda run: [put("prompts", index, prompt=4)(run) for index in (5, 6)],
    ),
    Fault(
        "prompts",
        (
            "Sizes differ by one at most: none is too small",
            "Sizes differ by one at most: none is too large",
        ),
        "prompt 2, size 1",
        put("prompts", 4, prompt=1, slot=4),
    ),
    Fault(
        "prompts",
        ("Slots begin with 1", "Slots end with the size of the prompt"),
        "prompt 3, first_slot 2",
        put("prompts", 5, slot=3),
    ),
    Fault("prompts", ("No slot is taken twice",), "prompt 1", put("prompts", 1, slot=3)),
    Fault(
        "picks",
        ("No record is picked twice in a round", OF_SLOT),
        f"round 1, id {IDS[1]}",
        put("picks", 1, id=IDS[1]),
    ),
    Fault(
        "picks",
        ("No slot is picked twice in a round", OF_SLOT),
        f"round 1, id {IDS[1]}",
        put("picks", 1, slot=2),
    ),
    Fault(
        "picks", ("Each pick was made in a known way",), "guess", put("picks", 1, method="guess")
    ),
    Fault("picks", ("Each pick was a candidate of its round",), IDS[7], put("picks", 1, id=IDS[7])),
    Fault(
        "picks",
        ("Each pick is of the prompt that showed it",),
        f"id {IDS[3]}, prompt 3, shown_prompt 2",
        put("picks", 2, prompt=3),
    ),
    Fault("picks", (OF_SLOT,), f"id {IDS[3]}, shown_slot 1, slot 2", put("picks", 2, slot=2)),
    Fault(
        "quotas",
        ("No prompt gives fewer than its share", "No prompt gives more than its share"),
        "round 1, prompt 3, fewest 2, n_picks 1",
        put("picks", 2, prompt=1, rank=3),
    ),
    Fault("quotas", ("Ranks begin with 1", RANKS_END), "prompt 2", put("picks", 2, rank=2)),
    Fault("quotas", ("No rank is given twice", RANKS_END), "prompt 1", put("picks", 1, rank=1)),
    Fault("selected", ("There are exactly 4 records",), "found 3", lose("selected", 3)),
    Fault(
        "selected",
        ("No record is selected twice",),
        IDS[1],
        lambda run: run.selected.__setitem__(1, run.selected[0]),
    ),
    Fault(
        "selected",
        ("Each record is of the pool", HASH, "Each record was picked in a round that selects"),
        NOWHERE,
        put("selected", 1, id=NOWHERE),
    ),
    Fault("selected", (HASH,), IDS[3], put("selected", 1, input="Time does not heal.")),
    Fault(
        "selected",
        ("Each record was picked in a round that selects",),
        IDS[4],
        lambda run: run.selected[1].update(_record(4)),
    ),
    Fault(
        "selected",
        (
            *(f"Each {NAMED.get(column, column)} is that of the pick" for column in PROVENANCE),
            "Smaller budgets come first",
        ),
        f"id {IDS[0]}, pick_round 1, round 2",
        put("selected", 3, round=2, prompt=2, slot=3, rank=4, votes=2, method="rubric"),
    ),
    Fault(
        "selected",
        ("The best ranks come first in each",),
        f"id {IDS[3]}, rank 1, rank_before 2",
        swap_the_first_and_the_last_selected,
    ),
    Fault(
        "selected",
        ("Each cluster is that of the candidate",),
        "cluster 3, shown_cluster 2",
        put("selected", 1, cluster=3),
    ),
    Fault("texts", ("No instruction is blank",), IDS[3], put("selected", 1, instruction=" \u00a0")),
    Fault(
        "texts",
        ("No text is over 200 long",),
        f"id {IDS[3]}, chars 212",
        put("selected", 1, instruction="x" * 201),
    ),
    Fault(
        "texts",
        ("No two texts are the same but for case, forms and white space", NEAR),
        f"id {IDS[3]}, same_as {IDS[1]}",
        put("selected", 1, instruction=INSTRUCTIONS[1].upper().replace(" ", "\n"), input=""),
    ),
    Fault(
        "texts",
        (NEAR,),
        f"id {IDS[3]}, near_to {IDS[1]} by 0.897",
        put("selected", 1, instruction=INSTRUCTIONS[8], input=""),
    ),
    Fault(
        "methods",
        ("No method has more than its share",),
        "method fallback, max_share 0.25, share 0.5",
        fall_back_twice,
    ),
    Fault(
        "judge",
        (GOES_BY_TEXT,),
        "fault slot bias, allowed 0.3, found 0.93",
        lambda run: run.usage.update(slots=BIASED),
    ),
    Fault(
        "judge",
        (GOES_BY_TEXT,),
        "fault canaries picked, allowed 0.1, found 0.5",
        lambda run: run.usage.update(
            canaries={"gibberish": {"shown": 4, "picked": 2, "by_chance": 0.2}}
        ),
    ),
    Fault(
        "judge",
        (GOES_BY_TEXT,),
        "fault disagreement, allowed 0.8, found 1.1",
        lambda run: run.usage.update(agreement={"kappa": -0.1}),
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_is_found_and_its_row_named(fault: Fault, verdict: Verdict):
    run = sound()
    fault.change(run)
    found = {one.expectation: one.detail for one in examined(run, fault.table) if not one.success}
    assert set(found) == set(fault.breaks)
    assert fault.named in found[fault.breaks[0]]


def test_every_expectation_is_broken_by_some_fault(verdict: Verdict):
    broken = {(fault.table, sentence) for fault in FAULTS for sentence in fault.breaks}
    assert broken == {(finding.table, finding.expectation) for finding in verdict.findings}


def test_a_sound_run_meets_every_expectation(verdict: Verdict):
    assert verdict.failed == []
    assert {finding.detail for finding in verdict.findings} == {""}


def test_a_tournament_is_sound_too():
    limits = replace(LIMITS, n_selected=2, budgets=(2,))
    assert validate(tournament().artifacts(), limits).failed == []


def test_a_later_round_may_pick_only_what_the_round_before_picked(verdict: Verdict):
    run = tournament()
    run.picks[4]["id"] = IDS[0]
    found = [one.detail for one in examined(run, "picks") if not one.success]
    assert found == [f"1 of 5 rows: round 2, id {IDS[0]}, shown False"]


@pytest.mark.parametrize(
    "slots",
    [{**BIASED, "p_value": 0.4}, {**BIASED, "p_value": None}, {**BIASED, "is_shuffled": False}],
    ids=["accident", "too few prompts", "paper mode"],
)
def test_a_slot_bias_that_says_nothing_of_the_judge_is_no_fault(slots: Row):
    run = sound()
    run.usage["slots"] = slots
    assert validate(run.artifacts(), LIMITS).failed == []


def test_a_fault_of_the_judge_is_a_warning_where_it_may_be():
    run = sound()
    run.usage["slots"] = BIASED
    verdict = validate(run.artifacts(), replace(LIMITS, is_judge_strict=False))
    assert verdict.failed == []
    (warning,) = verdict.warnings
    assert "slot bias" in warning.detail


def test_a_partial_selection_is_sound_and_labelled():
    run = sound()
    del run.rows["selected"][3], run.rows["picks"][1]
    run.usage |= {"partial": "max_usd", "selected": 3, "methods": {"llm": 3}}
    limits = replace(LIMITS, n_selected=3, is_partial=True)
    verdict = validate(run.artifacts(), limits)
    assert verdict.failed == []
    assert json.loads(verdict.to_json())["partial"] == "max_usd"
    run.usage["selected"] = 4
    assert {one.table for one in validate(run.artifacts(), limits).failed} == {"told"}


def test_the_funnel_adds_up(verdict: Verdict):
    funnel = verdict.funnel
    cut = funnel["excluded"] + funnel["faulty"] + funnel["repeated"]
    assert funnel["rows"] == cut + funnel["pool"]
    assert funnel["pool"] == funnel["duplicates"] + funnel["unique"]
    assert funnel == {
        **{"rows": 12, "excluded": 1, "faulty": 1, "repeated": 1, "pool": 9},
        **{"duplicates": 2, "unique": 7, "prompts": 3, "selected": 4},
    }
    assert verdict.dropped == {
        "ingest": {"excluded": 1, "repeated": 1, "nul": 1},
        "dedupe": {"identical": 1, "near": 1},
    }


def test_a_run_without_a_single_record_is_refused_and_does_not_crash():
    empty = Run(
        rows={name: [] for name in FILES},
        clusters={"n_records": 0, "n_prompts": 0},
        usage={**FAIR, "selected": 0, "methods": {}, "rounds": []},
        vectors=np.empty((0, 7), dtype=np.float32),
        n_rows=0,
    )
    failed = validate(empty.artifacts(), LIMITS).failed
    assert {finding.table for finding in failed} == {"stages", "selected"}


def test_an_expectation_that_cannot_be_evaluated_is_not_met(verdict: Verdict):
    from tasks.checks.examine import examine  # noqa: PLC0415
    from tasks.checks.rules import distinct  # noqa: PLC0415
    from tasks.checks.table import Table  # noqa: PLC0415

    table = Table(pd.DataFrame({"id": ["a"]}), ["id"])
    (finding,) = examine({"t": table}, {"t": [distinct("mood", "No mood twice")]}).findings
    assert not finding.success
    assert "could not be evaluated" in finding.detail
    assert "mood" in finding.detail


def test_at_most_ten_rows_are_named(verdict: Verdict):
    run = sound()
    for row in run.ingest_dropped:
        row["reason"] = "boring"
    run.rows["ingest_dropped"] = run.ingest_dropped * 5
    (finding,) = examined(run, "ingest_dropped")
    assert finding.detail.startswith("15 of 15 rows: line 10")
    assert finding.detail.count("line ") == 10


def pages_of(docs: Path) -> list[str]:
    return [page.read_text() for page in docs.rglob("validations/**/*.html")]


def test_a_faulty_run_stops_with_what_is_wrong_and_where_to_look(tmp_path: Path):
    run = sound()
    run.selected[1]["cluster"] = 3
    stage = run.write(tmp_path)
    with pytest.raises(CheckFailed) as caught:
        stage.run(work)
    failed_file = tmp_path / ".selectllm" / "failed_validation.json"
    message = str(caught.value)
    assert "1 of 57 expectations are not met" in message
    assert f"selected: Each cluster is that of the candidate: 1 of 4 rows: id {IDS[3]}" in message
    assert str(failed_file) in message
    assert str(tmp_path / ".selectllm" / "data_docs" / "index.html") in message
    assert caught.value.exit_code == 1
    assert json.loads(failed_file.read_text())["success"] is False
    assert not (tmp_path / "data/validate/result.json").exists()


def test_a_run_says_two_lines_writes_the_same_each_time_and_leaves_nothing_elsewhere(
    tmp_path: Path,
):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    elsewhere.mkdir()
    state, result_file = root / ".selectllm", root / "data/validate/result.json"
    state.mkdir(parents=True)
    (state / "failed_validation.json").write_text("of an earlier run")
    sound().write(root)
    homes = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME"), str(elsewhere))
    done = subprocess.run(
        [sys.executable, "-m", "tasks.validate"],
        cwd=root,
        env=os.environ | homes | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    docs = state / "data_docs"
    said = [f"validate: Data Docs are in {docs / 'index.html'}"]
    assert done.stderr.splitlines() == [*said, "validate: 57 of 57 expectations are met"]
    assert (done.returncode, done.stdout, list(elsewhere.iterdir())) == (0, "", [])

    text = result_file.read_text()
    result = json.loads(text)
    assert text == json.dumps(result, indent=2, sort_keys=True) + "\n"
    assert set(result) == {"success", "partial", "funnel", "dropped", "expectations"}
    assert result["success"] is True
    assert set(result["expectations"][0]) == set(Finding._fields)
    assert "Each vector has unit norm" in "".join(pages_of(docs))

    Stage("validate", root).run(work)
    assert result_file.read_text() == text
    assert len(pages_of(docs)) == len({one["table"] for one in result["expectations"]})
    assert [path.name for path in result_file.parent.iterdir()] == ["result.json"]
    assert {path.name for path in state.iterdir()} <= {"data_docs", "step.lock"}
    assert {path.name for path in root.iterdir()} == {
        *(".selectllm", "data", "dvc.yaml", "params.yaml")
    }


def test_checking_the_section_loads_no_heavy_library():
    code = (
        "import sys; from pathlib import Path; from tasks.core.params import read_params;"
        "from tasks.validate import check; check(read_params(Path('params.yaml')));"
        "print([name for name in ('great_expectations', 'pandas', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("key", "value"),
    [("max_fallback_rate", 1.1), ("max_fallback_rate", -0.1), ("max_chars", 0), ("max_chars", 2.5)],
)
def test_a_value_out_of_range_is_refused_by_name(key: str, value: float):
    section = YAML(typ="safe").load(PROJECT / "params.yaml")["validate"] | {key: value}
    with pytest.raises(ParamError, match=f"validate.{key}"):
        check({"validate": section})


def test_a_pool_that_does_not_tell_its_rows_is_refused(tmp_path: Path):
    stage = sound().write(tmp_path)
    write_table(tmp_path / "data/ingest/pool.parquet", sound().pool, schemas.POOL)
    with pytest.raises(DataError, match="n_rows"):
        stage.run(work)


def test_a_usage_file_without_its_rounds_is_refused(tmp_path: Path):
    run = sound()
    del run.usage["rounds"]
    with pytest.raises(DataError, match="lacks rounds"):
        run.write(tmp_path).run(work)


@pytest.mark.parametrize("content", [b"", b"text", b"\x93NUMPY\x01\x00"])
def test_what_is_no_matrix_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "vectors.npy").write_bytes(content)
    with pytest.raises(DataError, match="matrix"):
        row_norms(tmp_path / "vectors.npy")


@pytest.mark.parametrize("array", [np.zeros(3, dtype=np.float32), np.zeros((3, 2))])
def test_a_matrix_of_another_shape_or_type_is_refused(tmp_path: Path, array: Any):
    np.save(tmp_path / "vectors.npy", array)
    with pytest.raises(DataError, match="float32 matrix"):
        row_norms(tmp_path / "vectors.npy")


def test_norms_are_those_of_all_blocks(tmp_path: Path):
    vectors = np.random.default_rng(0).normal(size=(40_000, 3)).astype(np.float32)
    np.save(tmp_path / "vectors.npy", vectors)
    expected = np.linalg.norm(vectors.astype(float), axis=1)
    np.testing.assert_allclose(row_norms(tmp_path / "vectors.npy"), expected)


def test_reasons_of_dedupe_are_those_that_are_known():
    assert set(DEDUPE_REASONS) == set(Drop)


WORDS = st.lists(st.sampled_from(["alpha", "beta", "gamma", "delta", "12", "13"]), max_size=12)


@settings(max_examples=150, deadline=None)
@given(
    records=st.lists(st.tuples(WORDS.filter(bool).map(" ".join), WORDS.map(" ".join)), max_size=8),
    threshold=st.sampled_from([0.2, 0.5, 0.7, 0.8, 1.0]),
)
def test_twins_are_those_that_comparing_all_pairs_finds(
    records: list[tuple[str, str]], threshold: float
):
    sets = [[np.unique(shingles([text]).hashes) for text in record] for record in records]
    meanings = [Meaning.of(" ".join(record)) for record in records]
    expected: list[float | None] = [None] * len(records)
    for j, i in combinations(range(len(records)), 2):
        similarity = min(map(jaccard, sets[i], sets[j]))
        if similarity >= threshold and meanings[i].agrees(meanings[j]):
            expected[i] = max(similarity, expected[i] or 0.0)
    twins = find_twins(records, threshold)
    assert [twin and twin.similarity for twin in twins] == expected


@pytest.mark.parametrize(
    ("a", "b", "are_twins"),
    [
        (
            "Name three famous men who were born in London before the war",
            "Name three famous women who were born in London before the war",
            False,
        ),
        (
            "Name a very famous old bridge in London",
            "Name a very famous old bridge in London.",
            True,
        ),
        (
            "What is the square root of 1764 to 2 places?",
            "What is the square root of 1765 to 2 places?",
            False,
        ),
    ],
)
def test_twins_differ_in_spelling_and_not_in_meaning(a: str, b: str, are_twins: bool):
    twins = find_twins([(normalise(a), ""), (normalise(b), "")], 0.8)
    assert (twins[1] is not None) is are_twins
