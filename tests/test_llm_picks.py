"""The picks in the replies of models."""

import json
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.lib.gateway.reply import ReplyProblem, UnusableReply
from tasks.llm_select.picks import MAX_REASON, answer_schema, parse_picks, parse_reasons


@pytest.mark.parametrize(
    "text",
    [
        '{"picks": [3, 5]}',
        '```json\n{"picks": [3, 5]}\n```',
        'Sure! Here it is: {"picks": [3, 5]} I hope it helps.',
        "{'picks': [3, 5]}",
        '{"picks": ["3", "slot 5"]}',
        '{"picks": [3.0, 5]}',
        '{"picks": ["Candidate 3", "Candidate #5"]}',
        '{"picks": [{"slot": 3, "reason": "clear"}, {"slot": "5"}]}',
        '{"picks": [{"candidate": "Candidate 3"}, {"candidate": 5}]}',
        '[{"rank": 1, "slot": 3}, {"rank": 2, "slot": 5}]',
        '["Candidate 3", "slot 5"]',
        "Candidate 3 > Candidate 5",
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
def test_unambiguous_replies_are_parsed_as_three_and_five(text):
    assert parse_picks(text, 14, 2) == [3, 5]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", ReplyProblem.EMPTY),
        ("<think>[3, 5]", ReplyProblem.EMPTY),
        ("I like the third and the fifth.", ReplyProblem.NO_LIST),
        ("Of the 14 I choose 3 and 5", ReplyProblem.NO_LIST),
        ("1) 3\n2) 5", ReplyProblem.NO_LIST),
        ("-3, 5", ReplyProblem.NO_LIST),
        ('{"picks": [3, 5', ReplyProblem.NO_LIST),
        ('{"picks": [3.5, 5]}', ReplyProblem.NOT_A_SLOT),
        ('{"picks": [true, 5]}', ReplyProblem.NOT_A_SLOT),
        ('{"picks": [[3], [5]]}', ReplyProblem.NOT_A_SLOT),
        ('{"picks": ["the third", 5]}', ReplyProblem.NOT_A_SLOT),
        ('{"picks": [{"rank": 3}, {"rank": 5}]}', ReplyProblem.NOT_A_SLOT),
        ('{"picks": [{"slot": {"slot": 3}}, 5]}', ReplyProblem.NOT_A_SLOT),
        ('{"picks": [0, 5]}', ReplyProblem.OUT_OF_RANGE),
        ('{"picks": [3, 15]}', ReplyProblem.OUT_OF_RANGE),
        ('{"picks": [-3, 5]}', ReplyProblem.OUT_OF_RANGE),
        ('{"picks": [3, 3]}', ReplyProblem.REPEATED),
        ('{"picks": [3]}', ReplyProblem.TOO_FEW),
        ('{"picks": []}', ReplyProblem.TOO_FEW),
    ],
)
def test_an_unusable_reply_has_a_named_problem(text, problem):
    result = parse_picks(text, 14, 2)
    assert isinstance(result, UnusableReply)
    assert result.problem is problem
    assert result.detail


SLOTS = st.lists(st.integers(1, 20), max_size=6)
ODD_SLOTS = st.lists(
    st.integers(-5, 40)
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.none()
    | st.sampled_from(
        ["3", "slot 5", "٣", "四", "", "#2", " 7 ", "third", "1.0", "²", "９", "5\n"]
    ),
    max_size=8,
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["picks", "reasons", "answer", ""]), inner, max_size=3)
    ),
    max_leaves=8,
)
TALK = st.sampled_from([*"{}[]\"',:;>0123456789 \n", '"picks"', "null", "true", "1e999", "٣"])
FRAMES = st.sampled_from(
    [
        "{}",
        "```json\n{}\n```",
        "Sure! Here it is: {} I hope it helps.",
        "# My choice\n\n* **{}**\n",
        "<think>Maybe [1, 2]?</think>{}",
        "<think>{}",
        "| picks |\n|---|\n| {} |",
        "我选择{}，因为它们更有价值。",
        "Ich wähle {} aus den 14 Kandidaten.",
        "أختار {} من القائمة",
        "\ufeff{}\x00",
    ]
)
REFUSALS = st.sampled_from(
    [
        "I'm sorry, but I can't help with that.",
        "As an AI language model, I cannot choose between 14 candidates.",
        "申し訳ありませんが、お手伝いできません。",
        "Je ne peux pas répondre à la question 3.",
        "对不起，我无法回答。",
        "Не могу выбрать из 14.",
    ]
)


def in_frame(slots):
    """Generate a list of slots, or an object with one, among words."""
    lists = slots.map(str) | slots.map(json.dumps)
    objects = slots.map(lambda picks: json.dumps({"picks": picks}))
    return st.builds(lambda frame, body: frame.replace("{}", body), FRAMES, lists | objects)


REPLIES = {
    "any text": st.text(),
    "signs": st.lists(TALK, max_size=40).map("".join),
    "slots amid words": in_frame(SLOTS),
    "odd slots amid words": in_frame(ODD_SLOTS),
    "any json": ANY_JSON.map(json.dumps),
    "any picks": ANY_JSON.map(lambda value: json.dumps({"picks": value, "reasons": value})),
    "truncated": st.tuples(in_frame(ODD_SLOTS), st.integers(0, 60)).map(lambda t: t[0][: t[1]]),
    "several": st.lists(in_frame(ODD_SLOTS), min_size=2, max_size=4).map("\n".join),
    "refusals": st.builds("{}{}".format, REFUSALS, st.just("") | in_frame(SLOTS)),
    "huge": st.builds(
        lambda part, n, end: part * n + end,
        st.sampled_from(["[", "{", '{"picks":', "[1", "1,", "9", "[1] and ", "<think>", "٣", "甲"]),
        st.integers(1000, 12_000),
        in_frame(SLOTS),
    ),
}
N_EXAMPLES = dict.fromkeys(REPLIES, 300) | {"huge": 20}


@pytest.mark.slow
@pytest.mark.parametrize("kind", REPLIES)
def test_any_reply_gives_valid_picks_or_a_named_problem(kind):
    @settings(max_examples=N_EXAMPLES[kind], deadline=None, suppress_health_check=[*HealthCheck])
    @given(text=REPLIES[kind], n=st.integers(1, 20), n_picks=st.integers(1, 4))
    def check(text, n, n_picks):
        assert_valid_or_named(text, n, min(n, n_picks))

    check()


@pytest.mark.parametrize(
    "text",
    [
        '{"picks":' * 5000,
        '{"picks":' + "[" * 900 + "]" * 900 + "}",
        "9" * 10_000,
        '{"picks": [' + "9" * 5000 + "]}",
        '{"picks": [NaN, Infinity, 1e400]}',
        '{"picks": ["\\ud800"]}',
    ],
    ids=["open objects", "deep", "long number", "long slot", "no numbers", "half a character"],
)
def test_known_traps_give_a_named_problem(text):
    assert isinstance(assert_valid_or_named(text, 3, 1), UnusableReply)


def assert_valid_or_named(text, n, n_picks):
    result = parse_picks(text, n, n_picks)
    if isinstance(result, UnusableReply):
        assert result.problem in ReplyProblem
        assert result.detail
    else:
        assert len(result) == n_picks == len(set(result))
        assert all(type(slot) is int and 1 <= slot <= n for slot in result)
    reasons = parse_reasons(text, n_picks)
    assert len(reasons) == n_picks
    assert all(reason is None or len(reason) <= MAX_REASON for reason in reasons)
    return result


@given(
    slots=st.lists(st.integers(1, 14), min_size=2, max_size=2, unique=True),
    frame=FRAMES.filter(lambda frame: frame != "<think>{}"),
)
def test_picks_in_an_object_are_found_in_any_text(slots, frame):
    assert parse_picks(frame.replace("{}", json.dumps({"picks": slots})), 14, 2) == slots


@pytest.mark.parametrize(
    "text", ["[1" + " " * 20_000, "[1" * 10_000, "[1] and " * 2_500, "[1]" + "," * 20_000]
)
def test_a_hostile_answer_is_parsed_within_a_second(text):
    started = time.perf_counter()
    parse_picks(text, 14, 2)
    assert time.perf_counter() - started < 1


@given(slots=st.lists(st.integers(1, 14), min_size=2, max_size=2, unique=True))
def test_a_reply_that_matches_the_schema_is_parsed(slots):
    schema = answer_schema(14, 2)
    assert schema["type"] == "object"  # providers refuse a list at the top
    assert schema["required"] == ["picks"]
    assert parse_picks(json.dumps({"picks": slots}), 14, 2) == slots


def test_a_rationale_is_required_by_the_schema_and_parsed_with_the_picks():
    assert answer_schema(14, 2, rationale=True)["required"] == ["picks", "reasons"]
    text = json.dumps({"picks": [3, 5], "reasons": ["It asks\nfor a  proof.", "It is rare."]})
    assert parse_picks(text, 14, 2) == [3, 5]
    assert parse_reasons(text, 2) == ["It asks for a proof.", "It is rare."]


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ('{"picks": [3, 5]}', [None, None]),
        ('{"picks": [3, 5], "reasons": ["First."]}', ["First.", None]),
        ('{"picks": [3, 5], "reasons": [7, "Second.", "Third."]}', [None, "Second."]),
        ('{"picks": [3, 5], "reasons": "both good"}', [None, None]),
        ('{"picks": [3, 5], "reasons": ["' + "x" * 999 + '"]}', ["x" * MAX_REASON, None]),
        ("[3, 5] because they are good", [None, None]),
    ],
)
def test_reasons_are_kept_or_none_and_never_make_an_answer_invalid(text, reasons):
    assert parse_picks(text, 14, 2) == [3, 5]
    assert parse_reasons(text, 2) == reasons
