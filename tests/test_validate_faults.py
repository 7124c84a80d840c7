"""Every fault of a run is found, and its row named."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tasks.lib.core import schemas
from tasks.lib.documents.validation import ValidationResult
from tasks.validate.step import validate
from tests.sound_run import (
    AGREEMENT,
    BIASED,
    IDS,
    INSTRUCTIONS,
    LIMITS,
    Run,
    findings_of,
    numbered,
    sound,
)


@pytest.fixture(scope="session")
def result() -> ValidationResult:
    """Validate a sound run, and import Great Expectations without its warnings."""
    return validate(sound().artifacts(), LIMITS).result


@dataclass(frozen=True)
class Fault:
    """A change to a sound run, the expectations of a table that it breaks, and what is named."""

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


def know(*ids: str) -> Callable[[Run], object]:
    """Return a change that annotates the first of these records and marks all as repeating it."""

    def change(run: Run) -> None:
        run.annotated.append(numbered(IDS.index(ids[0])))
        run.known.extend({"id": id_, "of_id": ids[0], "similarity": 1.0} for id_ in ids)

    return change


def fall_back_twice(run: Run) -> None:
    for row in run.selected[:2]:
        row["method"] = "fallback"


NOWHERE = "f" * 16
HASH = "Each id is the hash of its record's text"
RANKS_END = "The last rank equals the number of ranked records"
OF_SLOT = "Each record has the slot in which it was shown"
NEAR = (
    "No two texts are near-duplicates",
    "At most 0 of the texts are near-duplicates",
)
NEAR_OUTSIDE = (
    "No text is a near-duplicate of an annotated or held-out record",
    "At most 0 of the texts are near-duplicates of those records",
)
QUOTA = {"budget": 4, "column": "source", "value": "toy.jsonl", "n_wanted": 3}
QUOTA |= {"n_candidates": 7, "n_selected": 3}
TARGETS = {"n_steering": 2, "n_held_out": 2, "n_random": 20, "n_random_below": 3}
TARGETS |= {"cosine": 0.4, "random_cosine": 0.5}
GOES_BY_TEXT = "The judge decides by the texts, not by slots, and not at random"
JUDGED = ("prompt", "slot", "rank", "judge score", "number of votes", "method")
FAULTS = [
    Fault("stages", ("Rows in equal rows kept plus rows dropped",), "dedupe", lose("unique", 6)),
    Fault(
        "reported",
        ("Numbers that stages report equal our own counts",),
        "what n_prompts of clusters.json, counted 3, reported 9",
        lambda run: run.clusters.update(n_prompts=9),
    ),
    Fault(
        "reported",
        ("Numbers that stages report equal our own counts",),
        "what set_aside.too_long of usage.json, counted 0, reported 1",
        lambda run: run.usage.update(set_aside={"too_long": 1}),
    ),
    Fault("pool", ("The columns are those of a pool",), "mood", add_a_column_to_the_pool),
    Fault("pool", ("Every record has an id",), "1 of 9 rows", put("pool", 2, id=None)),
    Fault(
        "pool", ("Every record has an instruction", HASH), IDS[2], put("pool", 2, instruction=None)
    ),
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
        ("Each duplicate is in the pool",),
        NOWHERE,
        put("dedupe_dropped", 0, id=NOWHERE),
    ),
    Fault(
        "dedupe_dropped",
        ("No duplicate is also kept",),
        IDS[3],
        put("dedupe_dropped", 0, id=IDS[3]),
    ),
    Fault(
        "dedupe_dropped",
        ("The original of each duplicate is kept or held out",),
        IDS[7],
        put("dedupe_dropped", 0, of_id=IDS[8]),
    ),
    Fault(
        "dedupe_dropped",
        ("Each similarity is between 0 and 1",),
        "similarity 1.5",
        put("dedupe_dropped", 0, similarity=1.5),
    ),
    Fault("known", ("No record is listed twice",), IDS[4], know(IDS[4], IDS[4])),
    Fault(
        "known",
        ("Each record that repeats an annotated one is unique",),
        IDS[7],
        know(IDS[7]),
    ),
    Fault(
        "known",
        ("Each repeated record is annotated",),
        f"id {IDS[4]}, annotated False",
        lambda run: [know(IDS[4])(run), put("known", 0, of_id=NOWHERE)(run)],
    ),
    Fault(
        "known",
        ("No record that repeats an annotated one is selected",),
        IDS[1],
        know(IDS[1]),
    ),
    Fault("unique", ("No record is kept twice",), IDS[5], repeat("unique", 5)),
    Fault(
        "unique",
        ("Each kept record is in the pool", "Each kept record has exactly one slot"),
        NOWHERE,
        put("unique", 5, id=NOWHERE),
    ),
    Fault(
        "unique",
        ("Each kept record has exactly one slot",),
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
            "Sizes differ by at most one, except for earlier prompts: none is too small",
            "Sizes differ by at most one, except for earlier prompts: none is too large",
        ),
        "prompt 2, size 1",
        put("prompts", 4, prompt=1, slot=4),
    ),
    Fault(
        "prompts",
        ("Slots start at 1", "The last slot equals the size of the prompt"),
        "prompt 3, first_slot 2",
        put("prompts", 5, slot=3),
    ),
    Fault("prompts", ("No slot is used twice",), "prompt 1", put("prompts", 1, slot=3)),
    Fault("ballots", ("No record is judged twice", OF_SLOT), IDS[1], put("ballots", 0, id=IDS[1])),
    Fault("ballots", ("No slot is judged twice", OF_SLOT), IDS[1], put("ballots", 0, slot=2)),
    Fault(
        "ballots",
        ("Each record was judged in a known way",),
        "guess",
        put("ballots", 1, method="guess"),
    ),
    Fault("ballots", ("Each judged record was a candidate",), IDS[7], put("ballots", 1, id=IDS[7])),
    Fault(
        "ballots",
        ("Each record has the prompt in which it was shown",),
        f"id {IDS[3]}, prompt 4, shown_prompt 2",
        put("ballots", 3, prompt=4),
    ),
    Fault("ballots", (OF_SLOT,), f"id {IDS[2]}, shown_slot 3, slot 4", put("ballots", 2, slot=4)),
    Fault(
        "ballots",
        ("Each judge score is between 0 and 1",),
        f"id {IDS[3]}, score 1.5",
        put("ballots", 3, score=1.5),
    ),
    Fault(
        "ballots",
        ("No record that was set aside has a rank or a score",),
        IDS[3],
        put("ballots", 3, set_aside="too_long"),
    ),
    Fault(
        "rankings",
        ("Every candidate of a judged prompt is judged",),
        "prompt 1, n_ballots 2, size 3",
        lose("ballots", 2),
    ),
    Fault("rankings", ("Ranks start at 1", RANKS_END), "prompt 2", put("ballots", 3, rank=2)),
    Fault("rankings", ("No rank is given twice", RANKS_END), "prompt 1", put("ballots", 0, rank=1)),
    Fault("selected", ("There are exactly 4 records",), "found 3", lose("selected", 3)),
    Fault(
        "selected",
        ("No record is selected twice",),
        IDS[1],
        lambda run: run.selected.__setitem__(1, run.selected[0]),
    ),
    Fault(
        "selected",
        ("Each record is in the pool", HASH, "Each record was judged"),
        NOWHERE,
        put("selected", 1, id=NOWHERE),
    ),
    Fault("selected", (HASH,), IDS[3], put("selected", 1, input="Time does not heal.")),
    Fault(
        "selected",
        ("Each record was judged",),
        IDS[3],
        lambda run: run.ballots.pop(3),
    ),
    Fault(
        "selected",
        tuple(f"The {words} agrees with the ballots" for words in JUDGED),
        f"id {IDS[0]}, ballot_prompt 1, prompt 2",
        put("selected", 3, prompt=2, slot=3, rank=4, score=0.1, votes=2, method="offline"),
    ),
    Fault(
        "selected",
        ("Each coverage gain is between 0 and 1",),
        f"id {IDS[3]}, gain -0.5",
        put("selected", 1, gain=-0.5),
    ),
    Fault(
        "selected",
        ("The cluster agrees with the prompts",),
        "cluster 3, shown_cluster 2",
        put("selected", 1, cluster=3),
    ),
    Fault("texts", ("No instruction is blank",), IDS[3], put("selected", 1, instruction=" \u00a0")),
    Fault(
        "texts",
        ("No text has more than 200 characters",),
        f"id {IDS[3]}, chars 212",
        put("selected", 1, instruction="x" * 201),
    ),
    Fault(
        "texts",
        ("No two texts differ only in typography or white space", *NEAR),
        f"id {IDS[3]}, same_as {IDS[1]}",
        put("selected", 1, instruction=INSTRUCTIONS[1].replace(" ", "\n"), input=""),
    ),
    Fault(
        "texts",
        NEAR,
        f"id {IDS[3]}, near_to {IDS[1]} by 0.897",
        put("selected", 1, instruction=INSTRUCTIONS[8], input=""),
    ),
    Fault(
        "texts",
        ("No text is that of an annotated or held-out record", *NEAR_OUTSIDE),
        f"id {IDS[3]}, outside {IDS[3]}",
        lambda run: run.held_out.append(numbered(3)),
    ),
    Fault(
        "texts",
        NEAR_OUTSIDE,
        f"id {IDS[1]}, near_outside {IDS[8]} by 0.897",
        lambda run: run.annotated.append(numbered(8)),
    ),
    Fault(
        "quotas",
        ("Each quota is met exactly",),
        "budget 4, column source, value toy.jsonl, selected 4, wanted 3",
        lambda run: run.choice.update(quotas=[QUOTA]),
    ),
    Fault(
        "budget_quotas",
        ("Each quota is met exactly at each smaller budget",),
        "budget 2, column source, value toy.jsonl, selected 2, wanted 3",
        lambda run: run.choice.update(quotas=[QUOTA | {"budget": 2}]),
    ),
    Fault(
        "targets",
        ("The selection is closer to the held-out targets than random selections are",),
        "random 0.5, selection 0.4",
        lambda run: run.choice.update(targets=TARGETS),
    ),
    Fault(
        "methods",
        ("No method has more than its share of the selection",),
        "method fallback, max_share 0.25, share 0.5",
        fall_back_twice,
    ),
    Fault(
        "judge",
        (GOES_BY_TEXT,),
        "fault position bias, allowed 0.3, found 0.93",
        lambda run: run.usage.update(slots=BIASED),
    ),
    Fault(
        "judge",
        (GOES_BY_TEXT,),
        "fault attention checks picked, allowed 0.1, found 0.5",
        lambda run: run.usage.update(
            attention_checks={"gibberish": {"shown": 4, "picked": 2, "by_chance": 0.2}}
        ),
    ),
    Fault(
        "judge",
        (GOES_BY_TEXT,),
        "fault disagreement, allowed 0.8, found 1.1",
        lambda run: run.usage.update(agreement={**AGREEMENT, "kappa": -0.1}),
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_is_found_and_its_row_named(fault: Fault, result: ValidationResult):
    run = sound()
    fault.change(run)
    unmet = {f.expectation: f.detail for f in findings_of(run, fault.table) if not f.success}
    assert set(unmet) == set(fault.breaks)
    assert fault.named in unmet[fault.breaks[0]]


def test_every_expectation_is_broken_by_some_fault(result: ValidationResult):
    broken = {(fault.table, sentence) for fault in FAULTS for sentence in fault.breaks}
    assert broken == {(finding.table, finding.expectation) for finding in result.expectations}
