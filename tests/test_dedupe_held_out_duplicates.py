"""Records that repeat a held-out set leave the pool; those that repeat annotated ones are named."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.dedupe.held_out_duplicates import References, find_repeated
from tasks.dedupe.step import work
from tasks.lib.core.schemas import ANNOTATED, DEDUPE_DROPPED, HELD_OUT, KNOWN, POOL, UNIQUE
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table
from tests.dedupe_records import deduped, records_of, table
from tests.workspaces import StepWorkspace

ROW = {"output": None, "source": "x.jsonl:1", "extra": "{}", "input": ""}
WORDS = ("harbour", "dredged", "spring", "ferries", "came", "back", "before", "summer")


def rows(*texts):
    return [{**ROW, "id": id_, "instruction": text} for id_, text in texts]


class Space(StepWorkspace):
    """A workspace with a pool, an annotated file and a held-out set, as ingest writes them."""

    def run(self, pool, annotated=(), held_out=()):
        self.write_no_references(0)
        self.write("ingest/pool.parquet", rows(*pool), POOL)
        self.write("ingest/annotated.parquet", rows(*annotated), ANNOTATED)
        self.write("ingest/held_out.parquet", rows(*held_out), HELD_OUT)
        Stage("dedupe", self.root).run(work)
        read = {"unique": UNIQUE, "dropped": DEDUPE_DROPPED, "known": KNOWN}
        return {
            name: read_table(self.root / f"data/dedupe/{name}.parquet", schema).to_pylist()
            for name, schema in read.items()
        }


@pytest.fixture
def space(tmp_path):
    return Space(tmp_path)


POOL_TEXTS = [
    ("a1", "Name three birds of the northern sea."),
    ("b1", "Why is the sky blue at noon?"),
    ("b2", "Why is the sky blue at noon"),
    ("c1", "Write a limerick about a tired postman."),
]


def test_near_duplicates_of_a_held_out_set_leave_the_pool_with_that_reason(space):
    found = space.run(POOL_TEXTS, held_out=[("h1", "why is the sky  blue at noon")])
    assert [row["id"] for row in found["unique"]] == ["a1", "c1"]
    assert [(d["id"], d["reason"], d["of_id"]) for d in found["dropped"]] == [
        ("b1", "held_out", "h1"),
        ("b2", "held_out", "h1"),
    ]
    assert all(0.8 <= d["similarity"] <= 1 for d in found["dropped"])


def test_dropped_records_are_in_pool_order_whatever_their_reason(space):
    held_out = [("h1", "Write a limerick about a tired postman."), ("h2", POOL_TEXTS[0][1])]
    found = space.run(POOL_TEXTS, held_out=held_out)
    assert [(d["id"], d["reason"]) for d in found["dropped"]] == [
        ("a1", "held_out"),
        ("b2", "near"),
        ("c1", "held_out"),
    ]


def test_records_that_repeat_annotated_ones_stay_and_are_named(space, caplog):
    caplog.set_level(logging.INFO, logger="selectllm")
    plain = space.run(POOL_TEXTS)
    unique = (space.root / "data/dedupe/unique.parquet").read_bytes()
    annotated = [("z1", "WHY IS THE SKY BLUE AT NOON"), ("z2", "Something else entirely.")]
    found = space.run(POOL_TEXTS, annotated=annotated)
    assert (space.root / "data/dedupe/unique.parquet").read_bytes() == unique
    assert found["dropped"] == plain["dropped"]
    assert [(k["id"], k["of_id"]) for k in found["known"]] == [("b1", "z1")]
    assert "1 of 2 annotated records are in the pool" in caplog.text


def test_an_annotated_file_without_a_record_of_the_pool_is_a_warning_with_the_counts(space, caplog):
    found = space.run(POOL_TEXTS, annotated=[("z1", "Something else."), ("z2", "And this.")])
    assert found["known"] == []
    (warning,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "0 of 2 annotated records are in the pool" in warning.getMessage()


def test_a_text_that_is_split_differently_is_the_same(space):
    space.write_no_references(0)
    held_out = [{**ROW, "id": "h1", "instruction": "Translate this.", "input": "Time heals."}]
    space.write("ingest/pool.parquet", rows(("a", "Translate this. Time heals.")), POOL)
    space.write("ingest/held_out.parquet", held_out, HELD_OUT)
    Stage("dedupe", space.root).run(work)
    dropped = read_table(space.root / "data/dedupe/dropped.parquet", DEDUPE_DROPPED).to_pylist()
    assert [(d["id"], d["reason"], d["similarity"]) for d in dropped] == [("a", "held_out", 1.0)]


TEXTS = st.lists(st.sampled_from(WORDS), min_size=3, max_size=9).map(" ".join)


@pytest.mark.slow
@given(known=st.lists(TEXTS, min_size=1, max_size=4), pool=st.lists(TEXTS, min_size=1, max_size=6))
def test_a_record_repeats_a_reference_exactly_if_dedupe_would_drop_it_after_the_reference(
    known, pool
):
    """Dedupe of a reference and a record alone is the definition."""
    references = References.of(table(records_of(*known)), 0.8, 128)
    (batch,) = table(records_of(*pool)).to_batches()
    found = {(r.position, r.id) for r in find_repeated(batch, references)}
    expected = {
        (i, f"r{i}") for i, text in enumerate(pool) if any(deduped(k, text).dropped for k in known)
    }
    assert found == expected
