"""`explain` says why a record was selected, rejected or dropped."""

import json
import shutil

import numpy as np
import pytest

from flows.cli import show_audit
from tasks.audit.explain import explain
from tasks.audit.verify import verify
from tasks.lib.core.errors import DataError, ParamError
from tasks.lib.core.schemas import (
    ANNOTATED,
    DEDUPE_DROPPED,
    HELD_OUT,
    KNOWN,
    POOL,
    UNIQUE,
)
from tasks.lib.core.tables import read_table
from tests.fake_provider import FakeProvider
from tests.sealed_desk import blocked, explained, seal, select
from tests.selection_desk import text_of


def fates(table):
    return {i: explain(table.root, i)["fate"] for i in table.records}


@pytest.mark.slow
def test_a_selected_record_has_its_prompt_its_score_its_gain_and_its_answers(table):
    with FakeProvider(explained) as provider:
        select(table, provider, rationale=True)
    counts = list(fates(table).values())
    assert (counts.count("selected"), counts.count("rejected")) == (12, 28)
    receipt = table.receipts()[0]
    story = explain(table.root, receipt["id"])
    candidates = story["prompt"]["candidates"]
    assert [candidate["slot"] for candidate in candidates] == list(range(1, 9))
    assert sorted(c["rank"] for c in candidates if c["rank"]) == [1, 2, 3, 4, 5]
    assert [c["place"] for c in candidates if c["id"] == story["id"]] == [1]
    assert [c["id"] for c in candidates if c["id"] != story["id"]] == receipt["rivals"]
    for name in ("place", "score", "gain", "rank"):
        assert story["receipt"][name] == receipt[name]
    assert story["receipt"]["reason"] == "Good."
    assert story["covered_by"] is None
    (answer,) = story["receipt"]["answers"]
    assert json.loads(answer["text"])["reasons"] == ["Good."] * 5


def test_a_rejected_record_names_the_selected_one_that_covers_it_best(table):
    select(table)
    ids = read_table(table.root / "data/dedupe/unique.parquet", UNIQUE)["id"].to_pylist()
    vectors = np.load(table.root / "data/embed/vectors.npy")
    selected = [receipt["id"] for receipt in table.receipts()]
    rejected = next(i for i in ids if i not in selected)
    story = explain(table.root, rejected)
    assert (story["fate"], story["receipt"]) == ("rejected", None)
    cosines = {i: float(vectors[ids.index(rejected)] @ vectors[ids.index(i)]) for i in selected}
    best = max(cosines, key=cosines.get)
    covered_by = story["covered_by"]
    assert (covered_by["id"], covered_by["place"]) == (best, selected.index(best) + 1)
    assert covered_by["cosine"] == pytest.approx(cosines[best], abs=1e-6)
    assert covered_by["text"] == text_of(table, best)


@pytest.mark.slow
def test_a_record_that_could_not_be_judged_is_reported_as_set_aside(table):
    with FakeProvider(blocked) as provider:
        select(table, provider)
    (aside,) = [record_id for record_id, fate in fates(table).items() if fate == "set_aside"]
    assert "topic 11 " in text_of(table, aside)
    story = explain(table.root, aside)
    (own,) = [c for c in story["prompt"]["candidates"] if c["id"] == aside]
    assert own["set_aside"] == "content_filter"


@pytest.mark.slow
def test_records_that_a_cap_left_out_are_undecided(table):
    with FakeProvider() as provider:
        select(table, provider, max_usd=0.0)
    assert set(fates(table).values()) == {"undecided"}


def test_a_duplicate_its_original_and_a_dropped_line_have_a_story_too(table):
    first, second = list(table.records)[:2]
    rows = [{"id": second, "reason": "near", "of_id": first, "similarity": 0.9}]
    table.write("dedupe/dropped.parquet", rows, DEDUPE_DROPPED)
    select(table)
    story = explain(table.root, second)
    assert story["fate"] == "duplicate"
    assert (story["duplicate_of"]["id"], story["duplicate_of"]["similarity"]) == (first, 0.9)
    assert "prompt" not in story
    duplicates = [{"id": second, "reason": "near", "similarity": 0.9}]
    assert explain(table.root, first)["duplicates"] == duplicates
    assert explain(table.root, "line:99")["dropped"]["reason"] == "nul"
    assert explain(table.root, "line:1")["id"] == first


def test_a_record_is_found_by_the_pools_own_id(table):
    rows = [
        {**row, "extra": json.dumps({"qid": f"q/{i}", "N": i, "user_id": "é"}, ensure_ascii=False)}
        for i, row in enumerate(table.records.values())
    ]
    table.write("ingest/pool.parquet", rows[::-1], POOL)
    select(table)
    story = explain(table.root, "q/7")
    assert story["id"] == rows[7]["id"]
    assert story["record"]["extra"] == {"qid": "q/7", "N": 7, "user_id": "é"}
    with pytest.raises(ParamError, match="'é' is the id of 40 rows of the source") as caught:
        explain(table.root, "é")
    assert rows[39]["id"] in caught.value.fix
    with pytest.raises(ParamError, match="has the id"):
        explain(table.root, "7")  # of a column that is not named like an id


def test_a_record_is_found_by_its_first_digits_and_an_unknown_id_is_an_error(table):
    select(table)
    shutil.rmtree(table.root / ".selectllm")
    record_id = table.receipts()[0]["id"]
    story = explain(table.root, record_id[:8].upper())
    assert story["id"] == record_id
    assert [answer["text"] for answer in story["receipt"]["answers"]] == [None]
    other = "0" if record_id[7] != "0" else "1"
    with pytest.raises(ParamError, match="none of the 40 records has the id"):
        explain(table.root, record_id[:7] + other + record_id[8:])
    with pytest.raises(ParamError, match="as in line:37"):
        explain(table.root, "zebra")
    with pytest.raises(DataError, match="line 41 was not read as a row"):
        explain(table.root, "line:41")


def test_a_record_that_repeats_an_annotated_or_held_out_one_names_it(table):
    known, held_out = list(table.records)[:2]
    original = table.records[known] | {"id": "a" * 16, "instruction": "What was annotated."}
    table.write("ingest/annotated.parquet", [original], ANNOTATED)
    vectors = np.load(table.root / "data/embed/vectors.npy")
    np.save(table.root / "data/embed/annotated.npy", vectors[[list(table.records).index(known)]])
    table.write("ingest/held_out.parquet", [original | {"instruction": "A test."}], HELD_OUT)
    rows = [{"id": known, "of_id": "a" * 16, "similarity": 0.9}]
    table.write("dedupe/known.parquet", rows, KNOWN)
    select(table)
    story = explain(table.root, known)
    assert story["fate"] == "annotated"
    assert story["annotated_as"]["text"].startswith("What was annotated.")
    cover = story["covered_by"]
    assert (cover["id"], cover["place"]) == ("a" * 16, None)
    assert cover["text"].startswith("What was annotated.")
    rows = [{"id": held_out, "reason": "held_out", "of_id": "a" * 16, "similarity": 0.9}]
    table.write("dedupe/dropped.parquet", rows, DEDUPE_DROPPED)
    seal(table)
    story = explain(table.root, held_out)
    assert story["fate"] == "held_out"
    assert story["duplicate_of"]["text"].startswith("A test.")


@pytest.mark.parametrize(
    ("tail", "change"),
    [
        ("ingest/pool.parquet", lambda data: data[:200]),
        ("choose/receipt.jsonl", lambda data: data.replace(b'"place"', b'"\xff\xfe"')),
        ("choose/receipt.jsonl", lambda data: data.replace(b'"place"', b'"plaice"')),
        ("embed/vectors.npy", lambda data: data.replace(b"(", b"'", 1)),
    ],
)
def test_explain_names_a_file_that_does_not_match_its_schema(table, tail, change):
    select(table)
    path = table.root / "data" / tail
    selected = {receipt["id"] for receipt in table.receipts()}
    rejected = next(i for i in table.records if i not in selected)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError) as caught:
        for record_id in (min(selected), rejected):
            explain(table.root, record_id)
    assert caught.value.where.partition(".")[0].endswith(tail.partition(".")[0])


def test_explain_says_if_the_files_do_not_belong_together(table):
    select(table)
    rows = [{"id": list(table.records)[1], "reason": "near", "of_id": "f" * 16, "similarity": 0.9}]
    table.write("dedupe/dropped.parquet", rows, DEDUPE_DROPPED)
    with pytest.raises(DataError, match="do not match each other"):
        explain(table.root, list(table.records)[1])


def test_the_story_of_a_selected_record_names_its_quota_and_its_weight(table, capsys):
    cells = {"extra": json.dumps({"worth": 2})}
    table.write("ingest/pool.parquet", [row | cells for row in table.records.values()], POOL)
    table.run()
    table.choose(quotas={"source": "as_pool"}, weight_column="worth")
    seal(table)
    story = explain(table.root, table.receipts()[0]["id"])
    assert story["receipt"]["counts_for"] == {"source": "pool.jsonl"}
    show_audit.story(story)
    said = capsys.readouterr().out
    assert "it counts toward the quota of source pool.jsonl" in said
    assert "covering it is worth 2 (weight column and targets)" in said
    assert verify(table.root).differences == []
