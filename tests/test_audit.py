"""`verify` rebuilds what follows from the answers, and names what differs."""

import re

import numpy as np
import pytest

from tasks.audit.dvc_lock import dvc_md5
from tasks.audit.same_content import first_difference, is_rounding
from tasks.audit.verify import MAX_RECORDS, verify, why_later
from tasks.lib.core.errors import DataError
from tasks.lib.core.schemas import (
    SELECTED,
)
from tasks.lib.core.tables import read_table, write_table
from tests.sealed_desk import difference_of, seal, select
from tests.workspaces import lay_out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("column", "value", "what"),
    [("gain", 0.5, "gain of row 2 is"), ("score", 0.5, "score of row 2 is")],
)
def test_a_changed_row_of_the_selection_is_found_by_rebuilding_it(table, column, value, what):
    select(table)
    path = table.root / "data/choose/selected.parquet"
    rows = read_table(path, SELECTED).to_pylist()
    rows[1][column] = value
    write_table(path, rows, SELECTED)
    seal(table)
    assert difference_of(table).file == "data/choose/selected.parquet"
    assert f"differs when rebuilt from the ballots and vectors: {what}" in difference_of(table).what
    assert "`dvc repro -f choose`" in difference_of(table).fix


@pytest.mark.slow
def test_a_changed_receipt_and_changed_vectors_are_found(table):
    select(table)
    path = table.root / "data/choose/receipt.jsonl"
    path.write_text(path.read_text().replace('"place": 3', '"place": 4'))
    seal(table)
    assert (
        difference_of(table).what
        == "the file differs when rebuilt from the ballots and vectors: line 3 differs"
    )
    select(table)
    vectors = np.load(table.root / "data/embed/vectors.npy")
    np.save(table.root / "data/embed/vectors.npy", vectors[::-1])
    seal(table)
    files = {difference.file for difference in verify(table.root).differences}
    names = ("selected.parquet", "receipt.jsonl", "choice.json")
    assert files == {f"data/choose/{name}" for name in names}


@pytest.mark.slow
def test_a_selection_of_another_size_is_named(table):
    select(table)
    selected = table.root / "data/choose/selected.parquet"
    whole = selected.read_bytes()
    table.choose(11)
    shorter = selected.read_bytes()
    table.choose(12)
    assert selected.read_bytes() == whole
    selected.write_bytes(shorter)
    seal(table)
    assert difference_of(table).what.endswith("vectors: 12 rows instead of 11")


@pytest.mark.slow
def test_a_missing_file_a_changed_parameter_and_a_broken_lock_are_named(table):
    select(table)
    table.out("ballots.parquet").unlink()
    assert difference_of(table).what == "the file is missing"
    assert "`dvc checkout -f data/llm_select/ballots.parquet`" in difference_of(table).fix
    select(table)
    table.set(budget=13)
    assert difference_of(table).file == "params.yaml"
    assert (
        difference_of(table).what == "llm_select.budget is 13, but the selection was made with 12"
    )
    table.set(budget=12)
    lock = table.root / "dvc.lock"
    whole = lock.read_text()
    lock.write_text("stages: [")
    with pytest.raises(DataError, match="not in the format that DVC writes"):
        verify(table.root)
    lock.write_text(re.sub(r"\bmd5: [0-9a-f]{32}", "x: y", whole, count=1))
    with pytest.raises(DataError, match="has no hash, so it cannot be compared"):
        verify(table.root)
    lock.unlink()
    with pytest.raises(DataError, match="nothing has been selected here yet"):
        verify(table.root)


@pytest.mark.slow
def test_changed_code_is_named_only_if_the_selection_differs(table):
    select(table)
    (table.root / "tasks").unlink()
    lay_out(table.root, "tasks")
    module = table.root / "tasks/llm_select/step.py"
    module.write_text(module.read_text() + "\n")
    assert verify(table.root).differences == []
    lock = table.root / "dvc.lock"
    usage = table.out("usage.json")
    old = dvc_md5(usage)
    usage.write_text(usage.read_text().replace('"n_unknown_usage": 0', '"n_unknown_usage": 1'))
    lock.write_text(lock.read_text().replace(old, dvc_md5(usage)))
    assert "changed since then: tasks/llm_select" in difference_of(table).fix


@pytest.mark.parametrize(
    ("was", "now", "is_rounded"),
    [
        ('{"gain": 0.18109754445600856}', '{"gain": 0.18109754906862463}', True),
        ("llm_select,60,1.02319,49.2487", "llm_select,60,1.0232,49.2487", True),
        ("1.06 & 0.05", "1.05 & 0.05", True),  # written with two digits
        ('{"usd": 0.0123}', '{"usd": 0.0125}', False),
        ('{"p_random": 0.52381}', '{"p_random": 0.238095}', False),
        ('{"saved": 12}', '{"saved": 13}', False),
        ('{"version": "1.2.3"}', '{"version": "1.2.4"}', False),
        ("0.5\n0.6\n", "0.5\n", False),
        ("0.5 a", "0.5 b", False),
    ],
)
def test_only_the_last_digits_of_numbers_may_differ_on_another_processor(
    tmp_path, was, now, is_rounded
):
    ours, rebuilt = tmp_path / "ours", tmp_path / "rebuilt"
    ours.write_text(was)
    rebuilt.write_text(now)
    assert first_difference(ours, rebuilt) == f"line {2 if was.count(chr(10)) > 1 else 1} differs"
    assert is_rounding(ours, rebuilt) is is_rounded


@pytest.mark.parametrize(
    ("stage", "n_records", "is_other_processor", "words"),
    [
        ("measure", 2000, False, ""),
        ("measure", 2001, False, "2,001 records take minutes"),
        ("measure", 10, True, "another kind of processor"),
        ("export", 10**6, True, ""),
        ("report", 10**6, False, "`selectllm verify --all` rebuilds it"),
    ],
)
def test_verify_says_why_it_leaves_a_stage_out(stage, n_records, is_other_processor, words):
    most = MAX_RECORDS[stage]
    why = why_later(stage, n_records, most, is_other_processor=is_other_processor)
    assert words in why if words else not why
