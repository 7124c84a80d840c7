"""Which columns are read as instructions, answers, choices and images."""

import json
from typing import Any

import pytest

from tasks.ingest.suggest_column import guess
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.errors import DataError, ParamError
from tests.ingest_rows import reasons, record, results
from tests.layout_parts import Expected, Row, said, short
from tests.layouts import LAYOUTS


@pytest.mark.parametrize(
    "row",
    [
        {"messages": 3, "prompt": "Q"},
        {"conversations": "", "question": "Q"},
        {"instruction": None, "text": "Q"},
        {"prompt": 17, "question": "Q", "messages": None},
        {"system": "gpt4", "prompt": "Q"},
        {"tools": "hammer", "prompt": "Q"},
        {"history": "long", "prompt": "Q"},
    ],
)
def test_no_column_is_chosen_by_its_name_alone(row: Row):
    assert short(record(row)) == Expected("Q")


@pytest.mark.parametrize(
    "row",
    [
        {"title": "Q", "answers": {"text": ["A"], "a_id": ["1"]}},
        {"title": "Q", "answers": {"text": "A"}},
        {"title": "Q", "tests": {"input": ["1"], "output": ["1"]}},
        {"passage": "P", "qa_pairs": [{"question": "Q", "answer": "A"}]},
    ],
)
def test_parts_of_answers_and_tests_are_not_instructions(row: Row):
    with pytest.raises(DataError, match="found no column with instructions"):
        results([row])


def test_columns_inside_objects_are_chosen_by_their_path():
    row = {"data": {"q": "Q", "note": "n"}, "meta": '{"answer": "A"}'}
    chosen = {"instruction": "data.q", "output": "meta.answer"}
    found = record(row, columns=chosen)
    assert short(found) == Expected("Q", "A")
    assert json.loads(found.extra) == {"data": {"note": "n"}, "meta": {}}
    with pytest.raises(ParamError, match=r"no column data\.qq; did you mean data\.q\?"):
        record(row, columns={"instruction": "data.qq"})


def test_a_column_of_a_few_recurring_words_holds_no_instructions():
    rows = [{"question": ("cause", "effect")[i % 2], "text": f"The man {i}"} for i in range(12)]
    assert [result.record.instruction for result in results(rows)][:2] == ["The man 0", "The man 1"]


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ({"history": "a post", "human_ref_A": "a longer text", "labels": 1}, "history"),
        ({"message_1": "a question", "message_2": "an answer of more words"}, "message_1"),
        ({"ctx": "some words", "model_reply": "some more words"}, "ctx"),
        (
            {"area": "many words of another kind", "customer_request": "a request"},
            "customer_request",
        ),
        ({"question": {"id": "1", "full_text": "a question"}, "answer_0": "a long answer"}, None),
    ],
)
def test_a_refusal_names_the_column_of_questions_not_that_of_answers(row: Row, column: str | None):
    if column:
        with pytest.raises(DataError, match="found no column with instructions") as caught:
            results([row])
        assert f"{{instruction: {column}}}" in caught.value.fix
    assert guess([row]) == (column or "question.full_text")


@pytest.mark.parametrize(
    ("rows", "warning"),
    [
        ([{"conv_id": i // 2, "prompt": f"Q{i}"} for i in range(4)], "rows with the same conv_id"),
        ([{"Instructions": ["Q", "Q2"]}, {"Instructions": ["R"]}], "if they are separate tasks"),
    ],
)
def test_a_doubt_about_rows_or_lists_is_logged(caplog, rows: list[Row], warning: str):
    results(rows)
    assert warning in caplog.text
    caplog.clear()
    results([{"conv_id": i, "prompt": f"Q{i}"} for i in range(4)] + [LAYOUTS["MT-Bench"][0]])
    assert not caplog.records


def test_questions_that_differ_only_in_their_choices_are_different_records():
    rows = [{"question": "Which is true?", "choices": [f"{i} < 3", "neither"]} for i in (1, 2, 1)]
    assert reasons(rows) == [None, None, IngestDrop.REPEATED]


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        (["x"], ""),
        ("x", ""),
        ([{"message": said("assistant: A")[0]}] * 2, ""),
        (["Q", "?"], ""),  # the question lists them
        (None, ""),
    ],
)
def test_what_is_not_a_list_of_choices_is_not_in_the_input(choices: Any, expected: str):
    assert short(record({"question": "Q?", "choices": choices})).input == expected


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "x"}},
        {"type": "input_audio", "input_audio": {"data": "x"}},
        {"inlineData": {"mimeType": "image/png"}},
        {"type": "image"},
    ],
)
def test_images_and_audio_have_a_separate_drop_reason(part: Row):
    with_media = {"messages": [{"role": "user", "content": [{"type": "text", "text": "Q"}, part]}]}
    llava = {"messages": said("user: <image>\nQ")}
    assert reasons([{"messages": said("user: Good")}, with_media, llava]) == [
        None,
        IngestDrop.MEDIA,
        IngestDrop.MEDIA,
    ]


@pytest.mark.parametrize(
    "row",
    [
        {"image": {"bytes": None, "path": "a.png"}, "question": "Q"},
        {"image_1": {"bytes": None, "path": "a.png"}, "question": "Q"},
        {"image": "data:image/png;base64,x", "question": "Q"},
        {"images": [{"bytes": "x"}], "question": "Q"},
        {"image": "a.png", "conversations": said("user: Compare <image> with <image>.")},
    ],
)
def test_a_column_of_images_is_a_reason_to_drop(row: Row):
    text_only = {**row, "image": None, "image_1": None, "images": None, "question": "Good"}
    text_only |= {"conversations": said("user: Good")} if "conversations" in row else {}
    assert reasons([text_only, row]) == [None, IngestDrop.MEDIA]


def test_the_name_of_an_image_that_only_illustrates_drops_nothing():
    assert short(record({"image": "a.png", "instruction": "Q"})) == Expected("Q")
