"""The candidates, read from files: their records and their texts."""

import numpy as np
import pytest

from tasks.lib.core.errors import DataError
from tasks.lib.core.records import RecordTexts
from tasks.lib.core.schemas import KNOWN, POOL, PROMPTS
from tasks.lib.core.shown_text import shown_text
from tasks.lib.core.tables import write_table
from tasks.llm_select import pool_texts as pool_file
from tasks.llm_select.candidates import Candidates
from tasks.llm_select.pool_texts import PoolFile

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


@pytest.fixture(params=[7, 8192])
def path(request, tmp_path, monkeypatch):
    """Return the path of a pool that is read in many batches, or in one."""
    monkeypatch.setattr(pool_file, "BATCH_ROWS", request.param)
    write_table(tmp_path / "pool.parquet", RECORDS, POOL)
    return tmp_path / "pool.parquet"


ORDERS = [[], [49], [3, 2, 1], [40, 0, 40, 13], [*range(50)], [*range(49, -1, -1)]]


@pytest.mark.parametrize("rows", ORDERS, ids=str)
def test_texts_are_in_the_requested_order(path, rows):
    pool, rows = PoolFile(path), np.array(rows, dtype=np.int64)
    asked = [RECORDS[row] for row in rows]
    assert pool.texts(rows) == [shown_text(*RecordTexts.of(r)) for r in asked]


def test_texts_can_be_read_after_the_file_is_deleted_and_leave_no_other_file(path):
    pool = PoolFile(path)
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


@pytest.mark.parametrize("record_id", ["x" * 16, "ABCDEF0123456789", "0123", " " * 16 + "12" * 8])
def test_an_id_that_ingest_does_not_make_is_refused(tmp_path, record_id):
    write_table(tmp_path / "pool.parquet", [RECORDS[0] | {"id": record_id}], POOL)
    with pytest.raises(DataError, match="expected ids of 16 hexadecimal digits"):
        PoolFile(tmp_path / "pool.parquet")


@pytest.mark.parametrize(("pool", "row"), [([], 0), (RECORDS[:3], 7), (RECORDS[:3], 49)])
def test_a_prompt_with_a_record_that_the_pool_lacks_is_refused(tmp_path, pool, row):
    write_table(tmp_path / "pool.parquet", pool, POOL)
    shown = {"prompt": 1, "slot": 1, "id": RECORDS[row]["id"], "cluster": 1}
    write_table(tmp_path / "prompts.parquet", [shown], PROMPTS)
    write_table(tmp_path / "known.parquet", [], KNOWN)
    with pytest.raises(DataError, match="a record is not in the pool"):
        Candidates.read(*(tmp_path / f"{n}.parquet" for n in ("prompts", "pool", "known")))


def test_a_file_that_is_not_a_pool_is_refused(tmp_path):
    write_table(tmp_path / "pool.parquet", [], PROMPTS)
    with pytest.raises(DataError, match="expected columns"):
        PoolFile(tmp_path / "pool.parquet")
