"""Keep the first of each group of near-duplicates."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from tasks.core.events import log
from tasks.core.params import Params, load_section
from tasks.core.records import record_text
from tasks.core.schemas import DEDUPE_DROPPED, POOL, UNIQUE
from tasks.core.stage import Stage, run_step
from tasks.core.tables import read_table, write_table
from tasks.text.shingles import normalise


class Dedupe(Params):
    """The section dedupe of params.yaml."""

    near_threshold: Annotated[float, Field(gt=0, le=1)]  # at 1 all shingles must be the same
    n_permutations: Annotated[int, Field(ge=16, le=512)]


class Drop(StrEnum):
    """Why a record is not unique."""

    IDENTICAL = "identical"  # the same text once normalised
    NEAR = "near"


class Entry(NamedTuple):
    """What of a record is compared."""

    id: str
    instruction: str
    input: str


@dataclass(frozen=True)
class Dropped:
    """A record that says what an earlier, kept one says.

    Attributes:
        similarity: Jaccard similarity of the shingles, the lesser of instruction and input.
    """

    id: str
    reason: Drop
    of_id: str
    similarity: float


class Deduped(NamedTuple):
    """Every record in one of two lists, each in pool order."""

    kept: list[str]
    dropped: list[Dropped]


def check(values: Mapping[str, Any]) -> Dedupe:
    """The section dedupe.

    Raises:
        ParamError: A key is unknown, missing or out of range.
    """
    return load_section(values, "dedupe", Dedupe)


def dedupe(
    entries: Sequence[Entry], params: Dedupe, advance: Callable[[int], None] = lambda n: None
) -> Deduped:
    """The ids that stay, and the others, each with the kept record that it repeats.

    A record goes if a kept record before it has the same normalised text or is near it, as
    `tasks.text.near` says; being near a dropped record is no reason. So the first of a group
    stays, and a second pass drops nothing. Of several kept records that it repeats, the most
    similar is named, of equals the first. `advance` is told of each record done.
    """
    from tasks.text.near import NearIndex  # noqa: PLC0415  datasketch takes most of a second

    fields = [(normalise(entry.instruction), normalise(entry.input)) for entry in entries]
    index = NearIndex(fields, params.near_threshold, params.n_permutations)
    kept: dict[str, str] = {}  # normalised text -> id
    dropped = []
    for number, entry in enumerate(entries):
        text = normalise(record_text(*fields[number]))
        if text in kept:
            dropped.append(Dropped(entry.id, Drop.IDENTICAL, kept[text], 1.0))
        elif near := index.nearest_or_add(number):
            of_id = entries[near.number].id
            dropped.append(Dropped(entry.id, Drop.NEAR, of_id, near.similarity))
        else:
            kept[text] = entry.id
        advance(1)
    return Deduped(list(kept.values()), dropped)


def work(stage: Stage) -> None:
    """Read the pool; write which records stay, and why the others do not."""
    params = check(stage.values)
    pool = read_table(stage.dep("ingest/pool.parquet"), POOL, list(Entry._fields))
    entries = list(map(Entry, *(pool[name].to_pylist() for name in Entry._fields)))
    kept, dropped = dedupe(entries, params, stage.progress(len(entries), "records").advance)
    write_table(stage.out("dedupe/unique.parquet"), ({"id": id_} for id_ in kept), UNIQUE)
    write_table(stage.out("dedupe/dropped.parquet"), map(asdict, dropped), DEDUPE_DROPPED)
    n_of = Counter(drop.reason for drop in dropped)
    reasons = ", ".join(f"{n_of[reason]:,} {reason}" for reason in Drop)
    log.info("dedupe: %s of %s records kept (%s)", f"{len(kept):,}", f"{len(entries):,}", reasons)


if __name__ == "__main__":
    run_step("dedupe", work)
