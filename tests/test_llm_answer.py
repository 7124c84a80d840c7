"""Models' words as picks."""

import json
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.llm.answer import AnswerFault, Unreadable, answer_schema, parse_picks


@pytest.mark.parametrize(
    "text",
    [
        '{"picks": [3, 5]}',
        '```json\n{"picks": [3, 5]}\n```',
        'Sure! Here it is: {"picks": [3, 5]} I hope it helps.',
        "{'picks': [3, 5]}",
        '{"picks": ["3", "slot 5"]}',
        '{"picks": [3.0, 5]}',
        '{"picks": "3, 5"}',
        '{"picks": [3, 5, 9]}',
        '{"reason": "as {so}", "picks": [3, 5]}',
        "[3, 5]",
        '["3", "5"]',
        "[3], [5]",
        "The best are [3] and [5].",
        "From [1, 2, 3, 5] I take [3, 5].",
        "3, 5",
        "3\n5\n",
        "Picks: 3, 5.",
        "3 > 5",
        '<think>{"picks": [1, 2]}</think>\n[3, 5]',
        "[٣, ٥]",
    ],
)
def test_what_can_only_mean_three_then_five_is_read_so(text):
    assert parse_picks(text, 14, 2) == [3, 5]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", AnswerFault.EMPTY),
        ("<think>[3, 5]", AnswerFault.EMPTY),
        ("I like the third and the fifth.", AnswerFault.NO_LIST),
        ("Of the 14 I choose 3 and 5", AnswerFault.NO_LIST),
        ("1) 3\n2) 5", AnswerFault.NO_LIST),
        ("-3, 5", AnswerFault.NO_LIST),
        ('{"picks": [3, 5', AnswerFault.NO_LIST),
        ('{"picks": [3.5, 5]}', AnswerFault.NOT_A_SLOT),
        ('{"picks": [true, 5]}', AnswerFault.NOT_A_SLOT),
        ('{"picks": [[3], [5]]}', AnswerFault.NOT_A_SLOT),
        ('{"picks": ["the third", 5]}', AnswerFault.NOT_A_SLOT),
        ('{"picks": [0, 5]}', AnswerFault.OUT_OF_RANGE),
        ('{"picks": [3, 15]}', AnswerFault.OUT_OF_RANGE),
        ('{"picks": [-3, 5]}', AnswerFault.OUT_OF_RANGE),
        ('{"picks": [3, 3]}', AnswerFault.REPEATED),
        ('{"picks": [3]}', AnswerFault.TOO_FEW),
        ('{"picks": []}', AnswerFault.TOO_FEW),
    ],
)
def test_what_breaks_the_contract_is_told_apart(text, fault):
    result = parse_picks(text, 14, 2)
    assert isinstance(result, Unreadable)
    assert result.fault is fault
    assert result.detail


TALK = st.sampled_from([*"{}[]\"',:;>0123456789 \n", '"picks"', "null", "true", "1e999", "٣"])


@settings(max_examples=1500, deadline=None)
@given(text=st.text() | st.lists(TALK, max_size=40).map("".join), n=st.integers(1, 20))
@example(text='{"picks":' * 5000, n=3)
@example(text='{"picks":' + "[" * 900 + "]" * 900 + "}", n=3)
@example(text="9" * 10_000, n=3)
@example(text='{"picks": [' + "9" * 5000 + "]}", n=3)
@example(text='{"picks": [NaN, Infinity, 1e400]}', n=3)
def test_any_text_gives_valid_picks_or_a_fault(text, n):
    result = parse_picks(text, n, min(n, 2))
    if not isinstance(result, Unreadable):
        assert len(result) == min(n, 2) == len(set(result))
        assert all(type(slot) is int and 1 <= slot <= n for slot in result)


@pytest.mark.parametrize(
    "text", ["[1" + " " * 20_000, "[1" * 10_000, "[1] and " * 2_500, "[1]" + "," * 20_000]
)
def test_a_hostile_answer_takes_no_long_time(text):
    started = time.perf_counter()
    parse_picks(text, 14, 2)
    assert time.perf_counter() - started < 1


@given(slots=st.lists(st.integers(1, 14), min_size=2, max_size=2, unique=True))
def test_what_the_schema_asks_for_is_read(slots):
    schema = answer_schema(14, 2)
    assert schema["type"] == "object"  # providers refuse a list at the top
    assert schema["required"] == ["picks"]
    assert parse_picks(json.dumps({"picks": slots}), 14, 2) == slots
