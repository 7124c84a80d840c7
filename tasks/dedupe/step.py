"""Keep the first of each group of near-duplicates."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain, compress, pairwise
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from tasks.dedupe.find_duplicates import (
    COLUMNS,
    Components,
    Duplicate,
    Near,
    find_duplicates,
    fingerprint,
    text_column,
)
from tasks.dedupe.held_out_duplicates import References, Repeated, find_repeated
from tasks.dedupe.lsh import find_components, prune_false_candidates
from tasks.dedupe.minhash import Keys
from tasks.dedupe.pool_batches import PoolBatches
from tasks.lib.core.drops import DedupeDrop
from tasks.lib.core.events import log
from tasks.lib.core.params import Params, load_section
from tasks.lib.core.schemas import DEDUPE_DROPPED, DEDUPE_NEAR, KNOWN, POOL, UNIQUE
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import count_rows, read_batches, read_table, write_table
from tasks.lib.executor import Executor, load_executor

SHARD_RECORDS = 8192  # about a second of work

StartProgress = Callable[[int, str], Callable[[int], None]]
"""A function that starts a progress display for a total and a unit, and returns its `advance`."""


class Dedupe(Params):
    """The dedupe section of params.yaml."""

    near_threshold: Annotated[float, Field(gt=0, le=1)]  # at 1, all shingles must be the same
    n_permutations: Annotated[int, Field(ge=16, le=512)]
    near: Annotated[Near, Field(strict=False)]

    def drops(self, reason: DedupeDrop) -> bool:
        """Return whether duplicates of this kind are dropped."""
        return reason is DedupeDrop.IDENTICAL or self.near is Near.MERGE


class Deduped(NamedTuple):
    """The kept records, the dropped records, and the kept near-duplicates, in pool order."""

    kept: list[str]
    dropped: list[Duplicate]
    kept_near: list[Duplicate]


def check(values: Mapping[str, Any]) -> Dedupe:
    """Return the dedupe section, after checking it and the engine.

    Raises:
        ParamError: A key is unknown, missing or out of range, or the engine is not installed.
    """
    load_executor(values)
    return load_section(values, "dedupe", Dedupe)


def dedupe(
    pool: PoolBatches,
    params: Dedupe,
    executor: Executor,
    start_progress: StartProgress = lambda total, unit: lambda n: None,
    shard_records: int = SHARD_RECORDS,
) -> Deduped:
    """Return the ids to keep, and every duplicate together with the kept record that it duplicates.

    A record is dropped if an earlier kept record has the same normalised text or is near it, as
    `NearIndex` defines it. Being near a dropped record does not count. So the first record of a
    group is kept, and a second pass drops nothing. If a record duplicates several kept records, the
    result names the most similar, or the first if tied. With `Near.REPORT`, near-duplicates are
    kept and listed.

    Memory use is about 500 bytes for each record, plus the texts of records with candidates; the
    pool is read twice so that other texts need not be kept. Candidates are compared in shards of
    about `shard_records`, or more for a larger component; the results do not depend on the shards.
    """
    if not pool.n_records:
        return Deduped([], [], [])
    keys = _find_keys(pool, params, executor, start_progress(pool.n_records, "records"))
    first = find_components(keys)
    has_candidates = np.bincount(first, minlength=len(first))[first] > 1
    ids, records = _read(pool, has_candidates)
    order = np.argsort(first[has_candidates], kind="stable")  # by component, then in pool order
    positions = np.flatnonzero(has_candidates)[order]
    cuts = _cut_between_components(first[positions], shard_records)
    shards = (
        Components(positions[a:b], records.take(order[a:b]), keys[positions[a:b]])
        for a, b in pairwise(cuts)
    )
    advance = start_progress(len(cuts) - 1, "batches of candidates")
    find = partial(find_duplicates, threshold=params.near_threshold, near=params.near)
    found: dict[int, Duplicate] = {}
    for part in executor.map(find, shards):
        found |= part
        advance(1)
    is_kept = np.ones(pool.n_records, dtype=np.bool_)
    is_kept[[i for i, duplicate in found.items() if params.drops(duplicate.reason)]] = False
    ordered = [found[i] for i in sorted(found)]
    return Deduped(
        list(compress(ids, is_kept)),
        [duplicate for duplicate in ordered if params.drops(duplicate.reason)],
        [duplicate for duplicate in ordered if not params.drops(duplicate.reason)],
    )


def work(stage: Stage) -> None:
    """Write which records in the pool are kept, and why the others are dropped."""
    params, executor = check(stage.values), load_executor(stage.values)
    path = stage.dep("ingest/pool.parquet")
    pool = PoolBatches(
        count_rows(path, POOL), lambda: read_batches(path, POOL, list(COLUMNS), SHARD_RECORDS)
    )
    held_out = _find_repeated(pool, stage.dep("ingest/held_out.parquet"), params, executor)
    kept, duplicates, near = dedupe(
        pool.without({record.id for record in held_out}),
        params,
        executor,
        lambda *task: stage.progress(*task).advance,
    )
    known = _find_repeated(pool.only(kept), stage.dep("ingest/annotated.parquet"), params, executor)
    dropped = _in_pool_order(pool, [*map(_held_out, held_out), *duplicates])
    write_table(stage.out("dedupe/unique.parquet"), pa.table({"id": kept}), UNIQUE)
    _write(stage.out("dedupe/dropped.parquet"), dropped, DEDUPE_DROPPED)
    _write(stage.out("dedupe/near.parquet"), near, DEDUPE_NEAR)
    _write(stage.out("dedupe/known.parquet"), known, KNOWN)
    n_by_reason = Counter(record.reason for record in dropped)
    reasons = ", ".join(f"{n_by_reason[reason]:,} {reason}" for reason in DedupeDrop)
    log.info("dedupe: %s of %s records kept (%s)", f"{len(kept):,}", f"{pool.n_records:,}", reasons)
    if near:
        log.info("dedupe: %s near-duplicates are kept and listed in near.parquet", f"{len(near):,}")
    _log_known(stage.dep("ingest/annotated.parquet"), known)


def _write(path: Path, records: Sequence[Duplicate | Repeated], schema: pa.Schema) -> None:
    rows = ({name: getattr(record, name) for name in schema.names} for record in records)
    write_table(path, rows, schema)


def _held_out(record: Repeated) -> Duplicate:
    return Duplicate(record.id, DedupeDrop.HELD_OUT, record.of_id, record.similarity)


def _find_repeated(
    pool: PoolBatches, references_file: Path, params: Dedupe, executor: Executor
) -> list[Repeated]:
    """Return the records in the pool that repeat a record in the file, in pool order."""
    references = read_table(references_file, POOL, list(COLUMNS))
    if not pool.n_records or not len(references):
        return []
    of = References.of(references, params.near_threshold, params.n_permutations)
    found = executor.map(partial(find_repeated, references=of), pool.read())
    return list(chain.from_iterable(found))


def _in_pool_order(pool: PoolBatches, dropped: Sequence[Duplicate]) -> list[Duplicate]:
    by_id = {record.id: record for record in dropped}
    ids = chain.from_iterable(text_column(batch, "id") for batch in pool.read()) if by_id else ()
    return [by_id[id_] for id_ in ids if id_ in by_id]


def _log_known(annotated_file: Path, known: Sequence[Repeated]) -> None:
    n_annotated = count_rows(annotated_file, POOL)
    if not n_annotated:
        return
    n_found = len({record.of_id for record in known})
    report = log.info if known else log.warning
    report(
        "dedupe: %s of %s annotated records are in the pool or near one of its records, so %s "
        "unique records cannot be selected",
        f"{n_found:,}",
        f"{n_annotated:,}",
        f"{len(known):,}",
    )


def _find_keys(
    pool: PoolBatches, params: Dedupe, executor: Executor, advance: Callable[[int], None]
) -> Keys:
    """Return the keys of the pool's records, with false candidates pruned."""
    function = partial(
        fingerprint, threshold=params.near_threshold, n_permutations=params.n_permutations
    )
    results = executor.map(function, pool.read())
    first = next(results)
    arrays: list[NDArray[Any]] = [
        np.empty((pool.n_records, *part.shape[1:]), part.dtype) for part in first
    ]
    n_done = 0
    for fingerprints in chain([first], results):
        n = len(fingerprints.text_hashes)
        for array, part in zip(arrays, fingerprints, strict=True):
            array[n_done : n_done + n] = part
        n_done += n
        advance(n)
    text_hashes, keys, b_bits = arrays
    prune_false_candidates(keys, b_bits, params.near_threshold)
    return np.column_stack([text_hashes, keys])


def _read(pool: PoolBatches, selected: NDArray[np.bool_]) -> tuple[list[str], pa.Table]:
    """Return all ids in the pool, and the texts of the selected records, both in pool order."""
    ids: list[str] = []
    parts = []
    for batch in pool.read():
        parts.append(batch.filter(pa.array(selected[len(ids) : len(ids) + len(batch)])))
        ids += text_column(batch, "id")
    return ids, pa.Table.from_batches(parts).combine_chunks()  # once, not in every `take`


def _cut_between_components(first: NDArray[np.int64], n: int) -> list[int]:
    """Return the bounds of shards of about `n` records; no component is divided.

    Args:
        first: int64, shape (n_records,), the first record of each record's component, ascending.
        n: Number of records in a shard.
    """
    starts = np.flatnonzero(np.append(True, first[1:] != first[:-1])[: first.size])
    is_cut = np.diff(starts // n, prepend=-1) > 0
    return [*starts[is_cut].tolist(), first.size]
