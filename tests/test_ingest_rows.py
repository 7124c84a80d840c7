"""How rows become records: the columns that are used, and why rows are dropped."""

import json

import pytest

from tasks.ingest.rows import Fault
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.errors import DataError, ParamError
from tests.ingest_rows import parts, reasons, record, results


def turns(**texts):
    """Return a turn for each role and its text."""
    return [{"role": role, "content": text} for role, text in texts.items()]


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
        ({"messages": turns(user="Q"), "prompt": "P"}, ("Q", "", None)),
        ({"messages": turns(system="S", user="Q", assistant="A")}, ("Q", "", "A")),
        (
            {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]},
            ("Q", "", "A"),
        ),
        ({"messages": turns(user="Q") + turns(user="Q2", assistant="A")}, ("Q2", "", "A")),
        ({"prompt": turns(user="Q"), "chosen": "A"}, ("Q", "", None)),
        (
            {"messages": turns(user="Q", assistant="A"), "context": "I", "response": "B"},
            ("Q", "", "A"),
        ),
    ],
)
def test_common_columns_are_recognised(row, expected):
    assert parts(row) == expected


def test_optional_columns_may_be_absent_from_the_first_rows():
    rows = [{"instruction": "One"}, {"instruction": "Two", "context": "I", "response": "A"}]
    assert [result.record[1:4] for result in results(rows)] == [
        ("One", "", None),
        ("Two", "I", "A"),
    ]


def test_only_chosen_columns_are_used():
    row = {"instruction": "no", "input": "Q", "output": "A"}
    assert parts(row, columns={"instruction": "input"}) == ("Q", "", None)
    chosen = {"instruction": "input", "output": "output"}
    assert parts(row, columns=chosen) == ("Q", "", "A")
    assert json.loads(record(row, columns=chosen).extra) == {"instruction": "no"}


def test_a_chosen_column_may_hold_turns():
    row = {"dialog": turns(user="Q"), "gold": "A"}
    assert parts(row, columns={"instruction": "dialog"}) == ("Q", "", None)
    assert parts(row, columns={"instruction": "dialog", "output": "gold"}) == ("Q", "", "A")


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (turns(assistant="A"), IngestDrop.MISSING_INSTRUCTION),
        ([], IngestDrop.MISSING_INSTRUCTION),
        (None, IngestDrop.MISSING_INSTRUCTION),
        ([{"role": "user"}], IngestDrop.BLANK_INSTRUCTION),
        (turns(user=" \u200b"), IngestDrop.BLANK_INSTRUCTION),
        ([7], IngestDrop.NOT_TEXT),
        (7, IngestDrop.NOT_TEXT),
        (turns(user=[{"type": "image_url", "image_url": {"url": "x"}}]), IngestDrop.MEDIA),
    ],
)
def test_a_faulty_conversation_is_dropped_with_its_reason(messages, reason):
    good = {"messages": turns(user="Good")}
    assert reasons([good, {"messages": messages}]) == [None, reason]


def test_a_file_with_unknown_columns_is_refused_with_their_names():
    with pytest.raises(DataError, match="the columns are frage, antwort") as caught:
        results([{"frage": "Q", "antwort": "A"}])
    assert "ingest.columns" in caught.value.fix


def test_the_message_for_a_missing_column_suggests_the_nearest_name():
    with pytest.raises(ParamError, match="no column qestion; did you mean question") as caught:
        results([{"question": "Q", "n": 1}], columns={"instruction": "qestion"})
    assert "question, n" in caught.value.fix


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({}, IngestDrop.MISSING_INSTRUCTION),
        ({"instruction": None}, IngestDrop.MISSING_INSTRUCTION),
        ({"instruction": float("nan")}, IngestDrop.MISSING_INSTRUCTION),
        ({"instruction": ""}, IngestDrop.BLANK_INSTRUCTION),
        ({"instruction": " \n\u200b\ufeff "}, IngestDrop.BLANK_INSTRUCTION),
        ({"instruction": 7}, IngestDrop.NOT_TEXT),
        ({"instruction": True}, IngestDrop.NOT_TEXT),
        ({"instruction": {"a": "b"}}, IngestDrop.NOT_TEXT),
        ({"instruction": "Q\0"}, IngestDrop.NUL),
        ({"instruction": "Q\ud800"}, IngestDrop.LONE_SURROGATE),
        ({"instruction": "Q", "input": "\udfff"}, IngestDrop.LONE_SURROGATE),
        ({"instruction": "Q" * 1001}, IngestDrop.TOO_LONG),
        ({"instruction": "Q", "input": "A" * 1001}, IngestDrop.TOO_LONG),
        (Fault(IngestDrop.WRONG_CELLS, "3 cells"), IngestDrop.WRONG_CELLS),
    ],
)
def test_a_faulty_row_is_dropped_with_its_reason(row, reason):
    good = {"instruction": "Good", "input": "", "output": ""}
    assert reasons([good, row]) == [None, reason]


@pytest.mark.parametrize("nothing", [None, float("nan"), "", " \r\n"])
def test_an_empty_input_is_blank_and_an_empty_output_is_none(nothing):
    row = {"instruction": "Q" * 1000 + " ", "input": nothing, "output": nothing}
    assert parts(row) == ("Q" * 1000, "", None)


@pytest.mark.parametrize(
    "nothing",
    [
        *("<noinput>", "Noinput", "No input", "<No input>", "No input required.", "N/A", "n/a"),
        *("None", "nan", "null", "`<noinput>`", "\\<noinput\\>", "<no_input>", "[no-input]"),
    ],
)
def test_a_placeholder_for_no_input_becomes_empty(nothing):
    row = {"instruction": "Q", "input": nothing, "output": nothing}
    assert parts(row) == ("Q", "", nothing)
    assert record(row).id == record({"instruction": "Q"}).id


@pytest.mark.parametrize("text", ["No lemon", "Na", "None of the students", "He was <noinput>"])
def test_an_input_that_only_resembles_a_placeholder_is_kept(text):
    assert parts({"instruction": "Q", "input": text}) == ("Q", text, None)


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (7, "7"),
        (7.5, "7.5"),
        (True, "true"),
        (["a", 1], '["a", 1]'),
        (["a"], "a"),
        ({"answer": "a"}, "a"),
        ('{"answer": "a"}', '{"answer": "a"}'),
        ({"text": "a", "label": "b"}, '{"label": "b", "text": "a"}'),
        ({"b": None}, '{"b": null}'),
        ([], "[]"),
        (float("nan"), None),
        ("<nooutput>", None),
    ],
)
def test_an_output_of_any_type_is_kept_as_text(output, text):
    assert parts({"instruction": "Q", "output": output}) == ("Q", "", text)


@pytest.mark.parametrize("output", ["A\0", "\udfff", "A" * 1001])
def test_a_faulty_output_does_not_drop_its_record_and_is_kept_in_extra(output):
    found = record({"instruction": "Q", "response": output})
    assert (found.instruction, found.output) == ("Q", None)
    assert json.loads(found.extra) == {"response": output}


def test_an_input_of_any_type_is_kept_as_text():
    assert parts({"instruction": "Q", "input": 7}) == ("Q", "7", None)
    assert parts({"instruction": "Q", "input": {"a": ["b"]}}) == ("Q", '{"a": ["b"]}', None)


def test_text_is_unchanged_except_line_ends_and_outer_space():
    assert parts({"instruction": "\r\n a\r\n\tb  c\rd \u0301\n"}) == (
        "a\n\tb  c\nd \u0301",
        "",
        None,
    )


def test_the_first_of_equal_rows_is_kept_and_the_others_are_dropped_with_its_line():
    rows = [{"prompt": "Q"}, {"prompt": "R"}, {"prompt": " Q\n"}, {"prompt": "Q", "n": 1}]
    assert reasons(rows) == [None, None, IngestDrop.REPEATED, IngestDrop.REPEATED]
    assert results(rows)[2].detail == "the same as line 1"


def test_rows_with_different_inputs_are_not_equal():
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
    actual = reasons([*rows, {"prompt": "no split"}], exclude={"split": value})
    assert actual == [IngestDrop.EXCLUDED] * len(excluded) + [None] * (len(others) + 1)


def test_an_excluded_row_is_not_faulty():
    rows = [{"prompt": "Q"}, {"prompt": "", "split": "test"}]
    assert reasons(rows, exclude={"split": "test"}) == [None, IngestDrop.EXCLUDED]


def test_the_message_for_a_missing_excluded_column_suggests_the_nearest_name():
    with pytest.raises(ParamError, match="no row has the column splitt; did you mean split"):
        results([{"prompt": "Q", "split": "a"}], exclude={"splitt": "test"})


def test_other_columns_become_json_text_that_any_parser_reads():
    row = {"prompt": "Q", "z": [1, float("inf")], "a": "é\ud800\0", "b": {1}, "\udc00": None}
    extra = record(row).extra
    extra.encode("utf-8")
    expected = {"a": "é\ud800\0", "b": "{1}", "z": [1, None], "\udc00": None}
    assert json.loads(extra, parse_constant=pytest.fail) == expected
    assert list(json.loads(extra)) == sorted(expected)
    assert "é" in extra


def test_a_cell_nested_too_deeply_drops_only_its_row():
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert reasons([{"prompt": "Q"}, {"prompt": "R", "deep": deep}]) == [None, IngestDrop.NOT_JSON]


ODD = ([1], {"a": [1]}, [[]], 1.5, True)


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_a_value_of_any_type_as_a_role_a_type_or_a_label_ends_in_a_result(odd):
    turn = {"role": "user", "content": "Name a river."}
    rows = [
        {"messages": [turn | {"role": odd}]},
        {"messages": [turn | {"type": odd}]},
        {"messages": [turn | {"content": [{"type": odd, "text": "a"}]}]},
        {"messages": [{"from": odd, "value": odd}]},
        {"instruction": "Name a river.", "reply_to": odd},
    ]
    for row in rows:
        assert len(results([row] * 3)) == 3
    labels = [{"instruction": "yes"}] * 30 + [{"instruction": odd}]
    assert len(results(labels)) == 31
