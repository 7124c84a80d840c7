"""The candidates, read from files: their records and their texts."""

import numpy as np
import pytest

from tasks.lib.core.errors import DataError
from tasks.lib.core.records import RecordTexts
from tasks.lib.core.schemas import KNOWN, POOL, PROMPTS
from tasks.lib.core.shown_text import shown_text
from tasks.lib.core.tables import write_table
from tasks.llm_select import candidate_texts
from tasks.llm_select.candidate_texts import CandidateTexts
from tasks.llm_select.candidates import Candidates

RECORDS = [
    {
        "id": f"{i:016x}",
        "instruction": f"Explain 甲 number {i}." * (i % 4 + 1),
        "input": f"Notes on {i}." if i % 3 == 0 else "",
        "output": None if i % 2 else f"It is {i}.",
        "system": "Answer briefly." if i % 5 == 0 else None,
        "turns": '[{"role": "user", "content": "甲?"}]' if i % 7 == 0 else None,
        "tools": None,
        "source": f"pool.jsonl:{i}",
        "extra": "{}",
    }
    for i in range(50)
]


@pytest.fixture(params=[(7, 100, 3), (8192, 1 << 20, 2048)])
def path(request, tmp_path, monkeypatch):
    """Return the path of a pool that is copied in many runs and parts, or in one."""
    for name, value in zip(("BATCH_ROWS", "RUN_CHARS", "PART"), request.param, strict=True):
        monkeypatch.setattr(candidate_texts, name, value)
    write_table(tmp_path / "pool.parquet", RECORDS, POOL)
    return tmp_path / "pool.parquet"


def rows_of(*rows):
    return np.array(rows, dtype=np.int32)


ORDERS = [[], [2], [2, 1, 0], [11, 0, 11, 7], [*range(12)], [*range(11, -1, -1)]]


@pytest.mark.parametrize("members", ORDERS, ids=str)
def test_ids_and_texts_are_in_the_requested_order(path, members):
    rows = rows_of(40, 0, 13, 49, 48, 30, 31, 32, 7, 8, 9, 20)
    pool, members = CandidateTexts(path, rows), np.array(members, dtype=np.intp)
    asked = [RECORDS[row] for row in rows[members]]
    assert pool.texts(members) == [shown_text(*RecordTexts.of(r)) for r in asked]
    assert pool.ids(members) == [record["id"] for record in asked]


def test_texts_can_be_read_after_the_file_is_deleted_and_leave_no_other_file(path):
    pool = CandidateTexts(path, rows_of(5, 1))
    assert [child.name for child in path.parent.iterdir()] == [path.name]
    path.unlink()
    assert pool.texts(np.array([1])) == [RECORDS[1]["instruction"]]


def test_candidates_are_the_rows_of_the_prompts_table(path, tmp_path):
    shown = [
        {"prompt": p + 1, "slot": s + 1, "id": RECORDS[i]["id"], "cluster": s + 1}
        for p, prompt in enumerate([[9, 4, 30], [2, 31]])
        for s, i in enumerate(prompt)
    ]
    write_table(tmp_path / "prompts.parquet", shown, PROMPTS)
    none = tmp_path / "known.parquet"
    write_table(none, [], KNOWN)
    known = Candidates.read(tmp_path / "prompts.parquet", path, none)
    assert [prompt.tolist() for prompt in known.prompts] == [[0, 1, 2], [3, 4]]
    assert known.ids(known.prompts[1]) == [RECORDS[i]["id"] for i in (2, 31)]
    assert known.texts(known.prompts[0])[1] == RECORDS[4]["instruction"]


def read(folder, pool, shown):
    """Return the candidates of a workspace with this pool and these records in one prompt."""
    write_table(folder / "pool.parquet", pool, POOL)
    rows = [
        {"prompt": 1, "slot": slot, "id": record["id"], "cluster": slot}
        for slot, record in enumerate(shown, 1)
    ]
    write_table(folder / "prompts.parquet", rows, PROMPTS)
    write_table(folder / "known.parquet", [], KNOWN)
    return Candidates.read(*(folder / f"{n}.parquet" for n in ("prompts", "pool", "known")))


@pytest.mark.parametrize("record_id", ["x" * 16, "ABCDEF0123456789", "0123", " " * 16 + "12" * 8])
def test_an_id_that_ingest_does_not_make_is_refused(tmp_path, record_id):
    with pytest.raises(DataError, match="expected ids of 16 hexadecimal digits"):
        read(tmp_path, [RECORDS[0] | {"id": record_id}], RECORDS[:1])


@pytest.mark.parametrize(("pool", "row"), [([], 0), (RECORDS[:3], 7), (RECORDS[:3], 49)])
def test_a_prompt_with_a_record_that_the_pool_lacks_is_refused(tmp_path, pool, row):
    with pytest.raises(DataError, match="a record is not in the pool"):
        read(tmp_path, pool, [RECORDS[row]])


def test_a_record_in_two_slots_is_refused(tmp_path):
    with pytest.raises(DataError, match="a record is shown twice"):
        read(tmp_path, RECORDS, [RECORDS[3], RECORDS[5], RECORDS[3]])


def test_a_file_that_is_not_a_pool_is_refused(tmp_path):
    write_table(tmp_path / "pool.parquet", [], PROMPTS)
    with pytest.raises(DataError, match="expected columns"):
        CandidateTexts(tmp_path / "pool.parquet", rows_of(0))
