"""Keep the first of each group of near-duplicates."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from itertools import chain, compress, pairwise
from typing import Annotated, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from tasks.dedupe.duplicates import Circles, Dropped, Entry, fingerprints_of, repeats, texts
from tasks.dedupe.lsh import circles_of, part_unlike
from tasks.dedupe.minhash import Keys
from tasks.lib.core.drops import DedupeDrop
from tasks.lib.core.events import log
from tasks.lib.core.params import Params, load_section
from tasks.lib.core.schemas import DEDUPE_DROPPED, POOL, UNIQUE
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import count_rows, read_batches, write_table
from tasks.lib.executor import Executor, load_executor

SHARD_RECORDS = 8192  # about a second of work

Watch = Callable[[int, str], Callable[[int], None]]
"""Told how many of what there are to do, gives whom to tell of each one done."""


class Dedupe(Params):
    """The section dedupe of params.yaml."""

    near_threshold: Annotated[float, Field(gt=0, le=1)]  # at 1 all shingles must be the same
    n_permutations: Annotated[int, Field(ge=16, le=512)]


class Pool(NamedTuple):
    """The records to look through.

    Attributes:
        n_records: How many there are.
        batches: Gives them with the columns of `Entry`, the same at every call.
    """

    n_records: int
    batches: Callable[[], Iterator[pa.RecordBatch]]


class Deduped(NamedTuple):
    """Every record in one of two lists, each in pool order."""

    kept: list[str]
    dropped: list[Dropped]


def check(values: Mapping[str, Any]) -> Dedupe:
    """The section dedupe, and the engine.

    Raises:
        ParamError: A key is unknown, missing or out of range, or the engine is not installed.
    """
    load_executor(values)
    return load_section(values, "dedupe", Dedupe)


def dedupe(
    pool: Pool,
    params: Dedupe,
    engine: Executor,
    watch: Watch = lambda total, unit: lambda n: None,
    shard_records: int = SHARD_RECORDS,
) -> Deduped:
    """The ids that stay, and the others, each with the kept record that it repeats.

    A record goes if a kept record before it has the same normalised text or is near it, as
    `near_duplicates` says; being near a dropped record is no reason. So the first of a group
    stays, and a second pass drops nothing. Of several kept records that it repeats, the most
    similar is named, of equals the first.

    Holds some 500 bytes a record, and the texts of those that meet another alike. The pool is read
    twice, for most of it never need be held. Look-alikes are compared `shard_records` at a time, or
    as many as a circle of them has; the results do not depend on it.
    """
    if not pool.n_records:
        return Deduped([], [])
    keys = _keys(pool, params, engine, watch(pool.n_records, "records"))
    firsts = circles_of(keys)
    meets = np.bincount(firsts, minlength=len(firsts))[firsts] > 1
    ids, entries = _read(pool, meets)
    order = np.argsort(firsts[meets], kind="stable")  # circle by circle, each in pool order
    numbers = np.flatnonzero(meets)[order]
    cuts = _cuts(firsts[numbers], shard_records)
    shards = (
        Circles(numbers[a:b], entries.take(order[a:b]), keys[numbers[a:b]])
        for a, b in pairwise(cuts)
    )
    advance = watch(len(cuts) - 1, "batches of look-alikes")
    dropped: dict[int, Dropped] = {}
    for found in engine.map(partial(repeats, threshold=params.near_threshold), shards):
        dropped |= found
        advance(1)
    stays = np.ones(pool.n_records, dtype=np.bool_)
    stays[list(dropped)] = False
    return Deduped(list(compress(ids, stays)), [dropped[n] for n in sorted(dropped)])


def work(stage: Stage) -> None:
    """Read the pool; write which records stay, and why the others do not."""
    params, engine = check(stage.values), load_executor(stage.values)
    path, columns = stage.dep("ingest/pool.parquet"), list(Entry._fields)
    pool = Pool(count_rows(path, POOL), lambda: read_batches(path, POOL, columns, SHARD_RECORDS))
    kept, dropped = dedupe(pool, params, engine, lambda *task: stage.progress(*task).advance)
    write_table(stage.out("dedupe/unique.parquet"), pa.table({"id": kept}), UNIQUE)
    write_table(stage.out("dedupe/dropped.parquet"), map(asdict, dropped), DEDUPE_DROPPED)
    n_of = Counter(drop.reason for drop in dropped)
    reasons = ", ".join(f"{n_of[reason]:,} {reason}" for reason in DedupeDrop)
    log.info("dedupe: %s of %s records kept (%s)", f"{len(kept):,}", f"{pool.n_records:,}", reasons)


def _keys(pool: Pool, params: Dedupe, engine: Executor, advance: Callable[[int], None]) -> Keys:
    """By what the records of the pool meet: one row each."""
    function = partial(
        fingerprints_of, threshold=params.near_threshold, n_permutations=params.n_permutations
    )
    results = engine.map(function, pool.batches())
    first = next(results)
    whole: list[NDArray[Any]] = [
        np.empty((pool.n_records, *part.shape[1:]), part.dtype) for part in first
    ]
    done = 0
    for found in chain([first], results):
        n = len(found.texts)
        for target, part in zip(whole, found, strict=True):
            target[done : done + n] = part
        done += n
        advance(n)
    texts, bands, sketches = whole
    part_unlike(bands, sketches, params.near_threshold)
    return np.column_stack([texts, bands])


def _read(pool: Pool, wanted: NDArray[np.bool_]) -> tuple[list[str], pa.Table]:
    """All ids of the pool, and the whole entries of the wanted records; both in pool order."""
    ids: list[str] = []
    entries = []
    for batch in pool.batches():
        is_wanted = wanted[len(ids) : len(ids) + len(batch)]
        entries.append(batch.filter(pa.array(is_wanted)))
        ids += texts(batch, "id")
    return ids, pa.Table.from_batches(entries).combine_chunks()  # or every take would do it


def _cuts(firsts: NDArray[np.int64], n: int) -> list[int]:
    """Where to cut sorted circles into shards of about `n` records, none of them in two."""
    starts = np.flatnonzero(np.append(True, firsts[1:] != firsts[:-1])[: firsts.size])
    is_cut = np.diff(starts // n, prepend=-1) > 0
    return [*starts[is_cut].tolist(), firsts.size]
