"""Faults of a run in the tables from the pool to the prompts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.lib.core import schemas
from tests.sound_run import IDS, Run, numbered


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


NOWHERE = "f" * 16
HASH = "Each id is the hash of its record's text"
POOL_FAULTS = [
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
    Fault("known", ("Each record that repeats an annotated one is unique",), IDS[7], know(IDS[7])),
    Fault(
        "known",
        ("Each repeated record is annotated",),
        f"id {IDS[4]}, annotated False",
        lambda run: [know(IDS[4])(run), put("known", 0, of_id=NOWHERE)(run)],
    ),
    Fault("known", ("No record that repeats an annotated one is selected",), IDS[1], know(IDS[1])),
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
]
