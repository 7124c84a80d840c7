"""The synthetic pool of the benchmarks: reproducible, true to its plan, and deduped well."""

import csv
import json

import pyarrow as pa
import pytest

from benchmarks.records import LANGUAGES, Plan, overlap, record, write
from tasks.dedupe.find_duplicates import COLUMNS
from tasks.dedupe.step import Dedupe, PoolBatches, dedupe
from tasks.lib.executor import Executor

PLAN = Plan(seed=1)
N = 4000


@pytest.fixture(scope="module")
def made():
    return [record(PLAN, number) for number in range(N)]


@pytest.mark.slow
def test_a_longer_pool_starts_with_the_shorter_one(tmp_path, made):
    for n in (30, 60):
        write(tmp_path / f"{n}.jsonl", n, PLAN, tmp_path / f"{n}.csv")
    write(tmp_path / "30.jsonl.gz", 30, PLAN, tmp_path / "30.csv")
    packed = (tmp_path / "30.jsonl.gz").read_bytes()
    write(tmp_path / "30.jsonl.gz", 30, PLAN, tmp_path / "30.csv")
    assert (tmp_path / "30.jsonl.gz").read_bytes() == packed
    short, long = ((tmp_path / f"{n}.jsonl").read_text().splitlines() for n in (30, 60))
    assert short == long[:30]
    assert [json.loads(line)["instruction"] for line in long] == [r.instruction for r in made[:60]]
    assert record(Plan(seed=2), 5) != made[5]


@pytest.mark.slow
def test_planted_duplicates_have_their_share_and_similarity(made):
    kinds = [r.kind for r in made]
    assert kinds.count("near") == pytest.approx(0.1 * N, rel=0.2)
    assert kinds.count("decoy") == pytest.approx(0.02 * N, rel=0.4)
    for number, planted in enumerate(made):
        original = made[planted.of]
        assert (planted.of == number) == (planted.kind == "fresh")
        assert original.kind == "fresh" and planted.of <= number
        if planted.kind != "fresh":
            assert planted.similarity == overlap(planted, original)
        assert planted.kind != "near" or planted.similarity >= PLAN.threshold


def test_records_vary_in_language_and_length(made):
    fresh = [r for r in made if r.kind == "fresh"]
    assert {r.lang for r in fresh} == set(LANGUAGES)
    assert len({(r.instruction, r.input) for r in fresh}) == len(fresh)
    lengths = sorted(len(r.instruction) + len(r.input) for r in fresh)
    assert lengths[0] < 30
    assert lengths[-1] > 10_000


def test_the_truth_file_names_the_planted_lines(tmp_path, made):
    write(tmp_path / "pool.jsonl.gz", 200, PLAN, tmp_path / "truth.csv")
    rows = csv.DictReader((tmp_path / "truth.csv").read_text().splitlines())
    truth = {int(row["line"]) - 1: (row["kind"], int(row["of_line"]) - 1) for row in rows}
    assert truth == {n: (r.kind, r.of) for n, r in enumerate(made[:200]) if r.kind != "fresh"}


@pytest.fixture(scope="module")
def deduped(made):
    """Return a function that dedupes the pool in batches and shards of given sizes."""
    columns = {
        **{name: pa.nulls(N, pa.string()) for name in COLUMNS},
        "id": [str(number) for number in range(N)],
        "instruction": [r.instruction for r in made],
        "input": [r.input for r in made],
    }

    def run(batch_records, shard_records):
        batches = pa.table(columns).to_batches(batch_records)
        params = Dedupe(near_threshold=PLAN.threshold, n_permutations=128, near="merge")
        pool = PoolBatches(N, lambda: iter(batches))
        return dedupe(pool, params, Executor.LOCAL, shard_records=shard_records)

    return run


@pytest.mark.slow
def test_dedupe_finds_what_is_planted_and_nothing_else(made, deduped):
    dropped = deduped(1000, 8192).dropped
    near = {number for number, r in enumerate(made) if r.kind == "near"}
    assert len(near & {int(d.id) for d in dropped}) >= 0.97 * len(near)
    for drop in dropped:
        near_duplicate, kept = made[int(drop.id)], made[int(drop.of_id)]
        assert near_duplicate.kind == "near" and kept.kind != "decoy"
        assert near_duplicate.of == kept.of


@pytest.mark.slow
def test_dedupe_finds_the_same_with_batches_and_shards_of_any_size(deduped):
    assert deduped(4000, 10) == deduped(700, 8192)
