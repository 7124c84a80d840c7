import json
import random
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.engine import Engine
from tasks.core.errors import CurationError, DataError, ParamError
from tasks.core.records import record_id
from tasks.core.schemas import INGEST_DROPPED, POOL
from tasks.core.stage import Stage
from tasks.core.tables import read_table
from tasks.formats.results import Kept
from tasks.formats.rows import Drop, Fault
from tasks.formats.tally import Dropped, Tally, refuse_poor
from tasks.ingest import Ingest, check, ingest, work

ROOT = Path(__file__).parents[1]
SECTION = {
    "source": "pool.jsonl",
    "columns": {},
    "exclude": {},
    "max_field_chars": 1000,
    "max_dropped": 0.05,
}


def results(rows, **changes):
    """What ingest makes of the rows, which are numbered from 1."""
    params = Ingest.model_validate({**SECTION, **changes})
    return list(ingest(enumerate(rows, start=1), params, "pool.jsonl", Engine.LOCAL))


def record(row, **changes):
    (kept,) = results([row], **changes)
    assert isinstance(kept, Kept), kept
    return kept.record


def reasons(rows, **changes):
    """The reason of each dropped row, and None for a kept one."""
    return [getattr(result, "reason", None) for result in results(rows, **changes)]


def parts(row, **changes):
    return record(row, **changes)[1:4]


# --- which columns


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"instruction": "Q", "input": "I", "output": "A"}, ("Q", "I", "A")),
        ({"instruction": "Q", "context": "I", "response": "A"}, ("Q", "I", "A")),
        ({"prompt": "Q", "completion": "A"}, ("Q", "", "A")),
        ({"prompt": "Q", "response": "A"}, ("Q", "", "A")),
        ({"question": "Q", "answer": "A"}, ("Q", "", "A")),
        ({"Question": "Q", " ANSWER ": "A"}, ("Q", "", "A")),
        ({"prompt": "Q", "chosen": "A"}, ("Q", "", None)),
        ({"text": "Q", "label": 1}, ("Q", "", None)),
        ({"messages": [{"role": "user", "content": "Q"}], "prompt": "P"}, ("Q", "", None)),
        (
            {
                "messages": [
                    {"role": "system", "content": "S"},
                    {"role": "user", "content": "Q"},
                    {"role": "assistant", "content": "A"},
                ]
            },
            ("Q", "", "A"),
        ),
        (
            {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]},
            ("Q", "", "A"),
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": "Q"},
                    {"role": "user", "content": "Q2"},
                    {"role": "assistant", "content": "A"},
                ]
            },
            ("Q", "", None),
        ),
        ({"prompt": [{"role": "user", "content": "Q"}], "chosen": "A"}, ("Q", "", None)),
        (
            {
                "messages": [
                    {"role": "user", "content": "Q"},
                    {"role": "assistant", "content": "A"},
                ],
                "context": "I",
                "response": "B",
            },
            ("Q", "", "A"),
        ),
    ],
)
def test_common_layouts_are_recognised(row, expected):
    assert parts(row) == expected


def test_optional_columns_may_be_absent_from_the_first_rows():
    rows = [{"instruction": "One"}, {"instruction": "Two", "context": "I", "response": "A"}]
    assert [result.record[1:4] for result in results(rows)] == [
        ("One", "", None),
        ("Two", "I", "A"),
    ]


def test_chosen_columns_are_taken_and_no_others():
    row = {"instruction": "no", "input": "Q", "output": "A"}
    assert parts(row, columns={"instruction": "input"}) == ("Q", "", None)
    chosen = {"instruction": "input", "output": "output"}
    assert parts(row, columns=chosen) == ("Q", "", "A")
    assert json.loads(record(row, columns=chosen).extra) == {"instruction": "no"}


def test_a_chosen_column_may_hold_turns():
    row = {"dialog": [{"role": "user", "content": "Q"}], "gold": "A"}
    assert parts(row, columns={"instruction": "dialog"}) == ("Q", "", None)
    assert parts(row, columns={"instruction": "dialog", "output": "gold"}) == ("Q", "", "A")


def test_only_the_first_exchange_of_a_conversation_is_taken_and_the_rest_is_noted():
    turns = [
        ("system", "S"),
        ("user", "Q"),
        ("assistant", "A"),
        ("user", "Q2"),
        ("assistant", "A2"),
    ]
    row = {"messages": [{"role": role, "content": text} for role, text in turns], "topic": "t"}
    assert parts(row) == ("Q", "", "A")
    assert json.loads(record(row).extra) == {"n_turns": 4, "system": "S", "topic": "t"}


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([{"role": "assistant", "content": "A"}], Drop.MISSING_INSTRUCTION),
        ([], Drop.MISSING_INSTRUCTION),
        (None, Drop.MISSING_INSTRUCTION),
        ([{"role": "user"}], Drop.MISSING_INSTRUCTION),
        ([{"role": "user", "content": ["Q"]}], Drop.NOT_TEXT),
        (["Q"], Drop.NOT_TEXT),
        ("Q", Drop.NOT_TEXT),
    ],
)
def test_a_faulty_conversation_has_its_reason(turns, reason):
    good = {"messages": [{"role": "user", "content": "Q"}]}
    assert reasons([good, {"messages": turns}]) == [None, reason]


def test_a_file_of_unknown_columns_is_refused_with_their_names():
    with pytest.raises(DataError, match="the columns are frage, antwort") as caught:
        results([{"frage": "Q", "antwort": "A"}])
    assert "ingest.columns" in caught.value.fix


def test_a_chosen_column_that_the_file_lacks_offers_the_nearest():
    with pytest.raises(ParamError, match="no column qestion; did you mean question") as caught:
        results([{"question": "Q", "n": 1}], columns={"instruction": "qestion"})
    assert "question, n" in caught.value.fix


# --- which rows


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({}, Drop.MISSING_INSTRUCTION),
        ({"instruction": None}, Drop.MISSING_INSTRUCTION),
        ({"instruction": float("nan")}, Drop.MISSING_INSTRUCTION),
        ({"instruction": ""}, Drop.BLANK_INSTRUCTION),
        ({"instruction": " \n\u200b\ufeff "}, Drop.BLANK_INSTRUCTION),
        ({"instruction": 7}, Drop.NOT_TEXT),
        ({"instruction": True}, Drop.NOT_TEXT),
        ({"instruction": {"a": "b"}}, Drop.NOT_TEXT),
        ({"instruction": "Q", "input": ["a"]}, Drop.NOT_TEXT),
        ({"instruction": "Q", "output": 7.5}, Drop.NOT_TEXT),
        ({"instruction": "Q\0"}, Drop.NUL),
        ({"instruction": "Q\ud800"}, Drop.LONE_SURROGATE),
        ({"instruction": "Q", "output": "\udfff"}, Drop.LONE_SURROGATE),
        ({"instruction": "Q" * 1001}, Drop.TOO_LONG),
        ({"instruction": "Q", "output": "A" * 1001}, Drop.TOO_LONG),
        (Fault(Drop.WRONG_CELLS, "3 cells"), Drop.WRONG_CELLS),
    ],
)
def test_a_row_that_is_no_record_has_its_reason(row, reason):
    good = {"instruction": "Good", "input": "", "output": ""}
    assert reasons([good, row]) == [None, reason]


@pytest.mark.parametrize("nothing", [None, float("nan"), "", " \r\n"])
def test_an_empty_input_is_blank_and_an_empty_output_is_none(nothing):
    row = {"instruction": "Q" * 1000 + " ", "input": nothing, "output": nothing}
    assert parts(row) == ("Q" * 1000, "", None)


def test_text_is_kept_but_for_line_ends_and_outer_space():
    assert parts({"instruction": "\r\n a\r\n\tb  c\rd \u0301\n"}) == (
        "a\n\tb  c\nd \u0301",
        "",
        None,
    )


def test_the_first_of_equal_rows_is_kept_and_the_others_name_its_line():
    rows = [{"prompt": "Q"}, {"prompt": "R"}, {"prompt": " Q\n"}, {"prompt": "Q", "n": 1}]
    assert reasons(rows) == [None, None, Drop.REPEATED, Drop.REPEATED]
    assert results(rows)[2].detail == "instruction and input of line 1"


def test_rows_of_another_input_are_not_equal():
    rows = [{"prompt": "Q", "input": "1"}, {"prompt": "Q", "input": "2"}, {"prompt": "Q"}]
    assert reasons(rows) == [None] * 3


@pytest.mark.parametrize(
    ("value", "excluded"),
    [
        ("test", ["test", " test "]),
        (True, [True, "true", "True"]),
        (1, [1, 1.0, "1"]),
        (0.5, [0.5, "0.5"]),
        (["test", 1], ["test", 1]),
    ],
)
def test_rows_are_excluded_by_value_whatever_its_type(value, excluded):
    others = ["train", False, 10, "", None, ["test"], {"test": 1}]
    rows = [{"prompt": f"Q{i}", "split": cell} for i, cell in enumerate([*excluded, *others])]
    found = reasons([*rows, {"prompt": "no split"}], exclude={"split": value})
    assert found == [Drop.EXCLUDED] * len(excluded) + [None] * (len(others) + 1)


def test_an_excluded_row_is_not_faulty():
    rows = [{"prompt": "Q"}, {"prompt": "", "split": "test"}]
    assert reasons(rows, exclude={"split": "test"}) == [None, Drop.EXCLUDED]


def test_an_excluded_column_that_no_row_has_offers_the_nearest():
    with pytest.raises(ParamError, match="no row has a column splitt; did you mean split"):
        results([{"prompt": "Q", "split": "a"}], exclude={"splitt": "test"})


def test_other_columns_become_json_text_that_any_parser_reads():
    row = {"prompt": "Q", "z": [1, float("inf")], "a": "é\ud800\0", "b": {1}, "\udc00": None}
    extra = record(row).extra
    extra.encode("utf-8")
    expected = {"a": "é\ud800\0", "b": "{1}", "z": [1, None], "\udc00": None}
    assert json.loads(extra, parse_constant=pytest.fail) == expected
    assert list(json.loads(extra)) == sorted(expected)
    assert "é" in extra


def test_a_cell_nested_beyond_pythons_limits_costs_its_row_only():
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert reasons([{"prompt": "Q"}, {"prompt": "R", "deep": deep}]) == [None, Drop.NOT_JSON]


# --- whether it is a pool


def tally(kept, **dropped):
    counts = Tally(kept=kept)
    for reason, n in dropped.items():
        for line in range(1, n + 1):
            counts.drop(Dropped(line, Drop(reason), "why"))
    return counts


def test_too_many_faulty_rows_stop_the_run_with_their_reasons():
    with pytest.raises(DataError) as caught:
        refuse_poor(tally(90, excluded=3, nul=6, too_long=1), 0.05, "pool.csv")
    message = str(caught.value)
    assert "7 of 100 rows (7.0%) are faulty" in message
    assert "nul: 6, such as line 1 (why); line 2 (why); line 3 (why)\n" in message
    assert "too_long: 1, such as line 1 (why)" in message
    assert "excluded" not in message
    assert "-S ingest.max_dropped=0.07" in message


def test_rows_left_out_on_purpose_do_not_count_as_faulty():
    refuse_poor(tally(1, excluded=50, repeated=49), 0.0, "pool.csv")
    refuse_poor(tally(95, nul=5), 0.05, "pool.csv")


def test_no_rows_or_none_left_stop_the_run():
    with pytest.raises(DataError, match="no rows"):
        refuse_poor(tally(0), 1.0, "pool.csv")
    with pytest.raises(DataError, match=r"all 2 rows are dropped\n  excluded: 2"):
        refuse_poor(tally(0, excluded=2), 1.0, "pool.csv")


def test_the_summary_counts_every_row_once():
    text = str(tally(1000, excluded=3, repeated=2, nul=1, not_json=1))
    assert text == "1,007 rows, 1,000 kept, 3 excluded, 2 repeated, 2 faulty"


# --- the step


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(workspace, content, **changes):
    (workspace / "pool.jsonl").write_bytes(content)
    # JSON is YAML, and so a params file.
    (workspace / "params.yaml").write_text(
        json.dumps({"engine": "local", "ingest": {**SECTION, **changes}})
    )
    Stage("ingest", workspace).run(work)
    folder = workspace / "data" / "ingest"
    pool = read_table(folder / "pool.parquet", POOL).to_pylist()
    dropped = read_table(folder / "dropped.parquet", INGEST_DROPPED).to_pylist()
    return pool, dropped


def test_the_step_writes_the_pool_and_the_dropped_rows(workspace):
    lines = ['{"prompt": "Q", "n": 1}', "", "{oops", '{"prompt": "Q"}', '{"prompt": "R"}']
    pool, dropped = run(workspace, "\n".join(lines).encode(), max_dropped=0.25)
    assert pool == [
        {
            "id": record_id("Q", ""),
            "instruction": "Q",
            "input": "",
            "output": None,
            "source": "pool.jsonl:1",
            "extra": '{"n": 1}',
        },
        {
            "id": record_id("R", ""),
            "instruction": "R",
            "input": "",
            "output": None,
            "source": "pool.jsonl:5",
            "extra": "{}",
        },
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


def test_a_refused_source_leaves_no_output(workspace):
    with pytest.raises(DataError, match="are faulty"):
        run(workspace, b'{"prompt": "Q"}\n{oops\n')
    assert not list((workspace / "data" / "ingest").iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "pol.jsonl"}, "no such file; did you mean pool.jsonl"),
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
    assert check({"engine": "local", "ingest": SECTION}) == Ingest.model_validate(SECTION)
    with pytest.raises(CurationError, match=message):
        check({"engine": "local", "ingest": {**SECTION, **changes}})


# --- properties

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


SHORT = st.sampled_from("abc")  # so that some are equal
ROWS = rows_of(st.one_of(JSON, SHORT, TURNS))


@given(ROWS)
def test_every_row_is_kept_or_dropped_and_ids_are_unique(rows):
    found = results([*rows, {"instruction": "x", "split": ""}], exclude={"split": ["a", True, 0]})
    assert [result.line for result in found] == list(range(1, len(rows) + 2))
    ids = [result.record.id for result in found if isinstance(result, Kept)]
    assert len(ids) == len(set(ids))
    for result in found:
        if isinstance(result, Kept):
            assert isinstance(json.loads(result.record.extra), dict)
            "".join(filter(None, result.record)).encode("utf-8")
        else:
            result.detail.encode("utf-8")


@given(rows_of(st.one_of(st.none(), st.integers(), TEXT, SHORT)))
def test_ids_do_not_depend_on_the_order_of_rows(rows):
    def ids(some):
        return {result.record.id for result in results(some) if isinstance(result, Kept)}

    assert ids(random.Random(0).sample(rows, len(rows))) == ids(rows)


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_text_that_was_kept_once_is_kept_as_it_is(instruction, input_text, output):
    rows = [{"instruction": instruction, "input": input_text, "output": output}]
    (first,) = results(rows)
    if isinstance(first, Kept):
        plain = instruction.replace("\r\n", "\n").replace("\r", "\n").strip()
        assert first.record.instruction == plain
        assert record(
            dict(zip(("instruction", "input", "output"), parts(rows[0]), strict=True))
        ) == (first.record)


LINE = st.one_of(st.binary(max_size=20), ROWS.map(lambda rows: json.dumps(rows[0]).encode()))


@settings(max_examples=50)
@given(st.lists(LINE, max_size=6).map(b"\n".join), st.sampled_from([0.0, 1.0]))
def test_whatever_a_jsonl_file_holds_the_step_ends_in_a_pool_or_a_curation_error(
    tmp_path_factory, content, max_dropped
):
    workspace = tmp_path_factory.getbasetemp() / "any_bytes"
    workspace.mkdir(exist_ok=True)
    shutil.copy(ROOT / "dvc.yaml", workspace)
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
