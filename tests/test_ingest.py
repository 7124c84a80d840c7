"""The ingest step turns any source into a pool that accounts for every row, or refuses it."""

import json
import logging
import random
import re
import shutil

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.ingest.classify_rows import Ingest, KeptRow
from tasks.ingest.step import check, work
from tasks.lib.core.errors import CurationError, DataError
from tasks.lib.core.records import record_id
from tasks.lib.core.schemas import INGEST_DROPPED, POOL
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table
from tests.ingest_rows import NAMED, SECTION, record, results
from tests.workspaces import StepWorkspace


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(workspace, content, **changes):
    (workspace / "pool.jsonl").write_bytes(content)
    (workspace / "none.jsonl").touch()
    StepWorkspace(workspace).update(ingest=SECTION | changes)
    Stage("ingest", workspace).run(work)
    folder = workspace / "data" / "ingest"
    pool = read_table(folder / "pool.parquet", POOL).to_pylist()
    dropped = read_table(folder / "dropped.parquet", INGEST_DROPPED).to_pylist()
    return pool, dropped


def test_the_step_writes_the_pool_and_the_dropped_rows(workspace):
    lines = ['{"prompt": "Q", "n": 1}', "", "{oops", '{"prompt": "Q"}', '{"prompt": "R"}']
    pool, dropped = run(workspace, "\n".join(lines).encode(), max_dropped=0.25)
    blank = {"input": "", "output": None, "system": None, "turns": None, "tools": None}
    first, last = (record_id(text, "") for text in "QR")
    assert pool == [
        {"id": first, "instruction": "Q", "source": "pool.jsonl:1", "extra": '{"n": 1}', **blank},
        {"id": last, "instruction": "R", "source": "pool.jsonl:5", "extra": "{}", **blank},
    ]
    assert [(row["line"], row["reason"]) for row in dropped] == [(3, "not_json"), (4, "repeated")]
    footer = pq.read_metadata(workspace / "data/ingest/pool.parquet").metadata
    assert footer[b"n_rows"] == b"4"
    assert footer[b"file"] == b"pool.jsonl"


def test_the_same_source_gives_the_same_bytes_in_any_folder(workspace):
    content = b'{"prompt": "Q", "b": 1, "a": {"d": 1, "c": 2}}\n{"prompt": "Q"}\n'
    files = ["pool.parquet", "dropped.parquet"]
    run(workspace, content)
    first = [(workspace / "data/ingest" / name).read_bytes() for name in files]
    (workspace / "deeper").mkdir()
    shutil.move(workspace / "pool.jsonl", workspace / "deeper" / "pool.jsonl")
    run(workspace, content, source="deeper/pool.jsonl")
    assert [(workspace / "data/ingest" / name).read_bytes() for name in files] == first


GOOD = [{"prompt": f"Q{n}"} for n in range(95)]
EXCLUDED = {"prompt": "Q", "split": "test"}
NUL = {"prompt": "\0"}


def jsonl(*rows):
    return "\n".join(map(json.dumps, rows)).encode()


def test_too_many_faulty_rows_stop_the_run_with_their_reasons(workspace):
    content = jsonl(*GOOD[:90], *[EXCLUDED] * 3, *[NUL] * 6, {"prompt": "Q" * 1001})
    with pytest.raises(DataError) as caught:
        run(workspace, content, exclude={"split": "test"})
    message = str(caught.value)
    assert "7 of 100 rows (7.0%) are faulty" in message
    assert re.search(r"nul: 6, such as line 94 \(.*\); line 95 \(.*\); line 96 \(.*\)\n", message)
    assert "too_long: 1, such as line 100 (instruction has 1001 characters)" in message
    assert "excluded" not in message
    assert "-S ingest.max_dropped=0.07" in message


@pytest.mark.parametrize(
    ("row", "cure", "changes"),
    [
        ({"prompt": "Q" * 2000}, "ingest.max_field_chars=2000", {"max_field_chars": 2000}),
        (
            {"body": "Name a bridge.", "prompt": 7},
            "'ingest.columns={instruction: body}'",
            {"columns": {"instruction": "body"}},
        ),
        (
            {"prompt": "", "talk": [{"content": "Q", "role": "user"}]},
            "'ingest.columns={instruction: talk}'",
            {"columns": {"instruction": "talk"}},
        ),
    ],
)
def test_if_most_rows_have_one_fault_the_message_gives_the_fix_and_shows_a_row(
    workspace, row, cure, changes
):
    content = jsonl({"prompt": "Good", "body": "Name a tree."}, *[row] * 3)
    with pytest.raises(DataError) as caught:
        run(workspace, content, columns={"instruction": "prompt"})
    assert f"-S {cure}" in caught.value.fix
    assert "max_dropped" not in caught.value.fix
    assert json.dumps(row)[:40] in caught.value.fix
    run(workspace, content, **{"max_dropped": 0.5, "columns": {}, **changes})


def test_no_message_suggests_dropping_all_rows(workspace):
    with pytest.raises(DataError) as caught:
        run(workspace, jsonl({"prompt": "Q\0"}, {"prompt": "Q" * 2000}, ["x"]))
    assert "max_dropped" not in caught.value.fix


def test_a_share_of_faulty_rows_at_the_limit_is_accepted_and_logged(workspace, caplog):
    caplog.set_level(logging.INFO, "selectllm")
    run(
        workspace,
        jsonl(*GOOD[:91], GOOD[0], *[EXCLUDED] * 3, *[NUL] * 5),
        exclude={"split": "test"},
    )
    assert "100 rows, 91 kept, 3 excluded, 1 repeated, 5 faulty" in caplog.text


def test_excluded_and_repeated_rows_do_not_count_as_faulty(workspace):
    content = jsonl(*[GOOD[0]] * 50, *[EXCLUDED] * 50)
    pool, _ = run(workspace, content, max_dropped=0.0, exclude={"split": "test"})
    assert len(pool) == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("out.jsonl", '{"id": 2}\n{"id": "9"}\n'),
        ("out.csv", "id,user_id\n2,7\n9,7\n"),
        ("out.csv", "id\n2\n9\n"),
        ("out.jsonl", '{"prompt": "Q2", "n": 1}\n{"prompt": "Q9"}\n'),
        ("out.json", json.dumps([{"id": record_id(f"Q{i}", "")} for i in (2, 9)])),
        ("out.csv", "id,instruction,pool.id\n" + f"{record_id('Q2', '')},x,2\n0,Q9,9\n"),
    ],
)
def test_a_file_of_ids_or_rows_excludes_these_rows(workspace, name, content):
    (workspace / name).write_text(content)
    rows = [{"id": i, "user_id": 7, "prompt": f"Q{i}"} for i in range(10)]
    pool, dropped = run(workspace, jsonl(*rows), exclude_file=name)
    assert {row["instruction"] for row in pool} == {f"Q{i}" for i in range(10)} - {"Q2", "Q9"}
    assert {row["reason"] for row in dropped} == {"excluded"}
    assert name in dropped[0]["detail"]


def test_a_missing_exclude_file_is_reported_with_its_key(workspace):
    with pytest.raises(
        DataError, match=r"none\.jsn: ingest\.exclude_file: the file does not exist"
    ) as caught:
        run(workspace, jsonl({"prompt": "Q"}), exclude_file="none.jsn")
    assert "exclude_file" in caught.value.fix


def test_a_file_without_rows_or_without_kept_rows_stops_the_run(workspace):
    with pytest.raises(DataError, match="has no rows"):
        run(workspace, b"\n", max_dropped=1.0)
    with pytest.raises(DataError, match=r"all 2 rows were dropped\n  excluded: 2"):
        run(workspace, jsonl(EXCLUDED, EXCLUDED), exclude={"split": "test"})


def test_a_refused_source_leaves_no_output(workspace):
    with pytest.raises(DataError, match="are faulty"):
        run(workspace, b'{"prompt": "Q"}\n{oops\n')
    assert not list((workspace / "data" / "ingest").iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "pol.jsonl"}, "the file does not exist; did you mean pool.jsonl"),
        ({"source": ""}, "ingest.source"),
        ({"columns": {"instrution": "a"}}, "instrution is unknown; did you mean instruction"),
        ({"columns": {"output": "a"}}, "no column for the instruction"),
        ({"columns": {"instruction": 3}}, "ingest.columns.instruction: .*string, not 3"),
        ({"exclude": {"split": {"a": 1}}}, "ingest.exclude.split: expected text, a number"),
        ({"exclude": {"split": [None]}}, "ingest.exclude.split: expected text, a number"),
        ({"max_dropped": 1.5}, "ingest.max_dropped"),
        ({"max_field_chars": 0}, "ingest.max_field_chars"),
        ({"max_droped": 0}, "max_droped is unknown; did you mean max_dropped"),
    ],
)
def test_params_are_checked_before_a_run(workspace, changes, message):
    (workspace / "pool.jsonl").write_text("{}")
    (workspace / "none.jsonl").touch()
    assert check({"ingest": SECTION, "choose": NAMED}) == Ingest.model_validate(SECTION)
    with pytest.raises(CurationError, match=message):
        check({"ingest": {**SECTION, **changes}, "choose": NAMED})


TEXT = st.text(st.characters(), max_size=8)  # with NUL, surrogates and every kind of space
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=5,
)
TURNS = st.lists(
    st.fixed_dictionaries(
        {}, optional={"role": st.sampled_from(["user", "assistant", "system"]), "content": JSON}
    )
)


def rows_of(instructions):
    return st.lists(
        st.fixed_dictionaries(
            {"instruction": instructions}, optional={"input": JSON, "output": JSON, "split": JSON}
        ),
        min_size=1,
        max_size=8,
    )


SHORT = st.sampled_from("abc")  # to get equal rows
ROWS = rows_of(st.one_of(JSON, SHORT, TURNS))


@given(ROWS)
def test_every_row_is_kept_or_dropped_and_ids_are_unique(rows):
    outcome = results([*rows, {"instruction": "x", "split": ""}], exclude={"split": ["a", True, 0]})
    assert [result.line for result in outcome] == list(range(1, len(rows) + 2))
    ids = [result.record.id for result in outcome if isinstance(result, KeptRow)]
    assert len(ids) == len(set(ids))
    for result in outcome:
        if isinstance(result, KeptRow):
            assert isinstance(json.loads(result.record.extra), dict)
            "".join(filter(None, result.record)).encode("utf-8")
        else:
            result.detail.encode("utf-8")


@given(rows_of(st.one_of(st.none(), st.integers(), TEXT, SHORT)))
def test_ids_do_not_depend_on_the_order_of_rows(rows):
    def ids(rows):
        return {result.record.id for result in results(rows) if isinstance(result, KeptRow)}

    assert ids(random.Random(0).sample(rows, len(rows))) == ids(rows)


@pytest.mark.slow
@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_text_that_was_ingested_once_is_not_changed_again(instruction, input_text, output):
    rows = [{"instruction": instruction, "input": input_text, "output": output}]
    _, first = results([{"instruction": "x"}, *rows])
    if isinstance(first, KeptRow):
        plain = instruction.replace("\r\n", "\n").replace("\r", "\n").strip()
        assert first.record.instruction == plain
        fields = zip(("instruction", "input", "output"), first.record[1:4], strict=True)
        assert record(dict(fields))[:-1] == first.record[:-1]  # extra may hold a faulty output


LINE = st.one_of(st.binary(max_size=20), ROWS.map(lambda rows: json.dumps(rows[0]).encode()))


@pytest.mark.slow
@given(st.lists(LINE, max_size=6).map(b"\n".join), st.sampled_from([0.0, 1.0]))
def test_any_jsonl_file_gives_a_pool_or_a_curation_error(tmp_path_factory, content, max_dropped):
    workspace = tmp_path_factory.getbasetemp() / "any_bytes"
    workspace.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workspace)
        try:
            pool, dropped = run(workspace, content, max_dropped=max_dropped)
        except CurationError as error:
            json.dumps(str(error), ensure_ascii=False).encode("utf-8")
            return
    n_lines = sum(bool(line.strip()) for line in content.split(b"\n"))
    assert len(pool) + len(dropped) == n_lines
    assert pool
