"""Layouts of public pools, and the record that each becomes."""

import csv
import json
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.ingest.classify_rows import KeptRow
from tasks.ingest.step import work
from tasks.ingest.suggest_column import guess
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.errors import DataError, ParamError
from tasks.lib.core.schemas import POOL
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table
from tests.ingest_rows import SECTION, reasons, record, results
from tests.layouts import AFTER_ONE, CLOCK, EARLIER, LAYOUTS, ONE, TWO, Expected, Row, said, short
from tests.workspaces import StepWorkspace

IN_FILES = [
    *("Alpaca with history", "self-instruct", "Hugging Face sequences", "OpenAI with tools"),
    *("WildChat", "UltraChat", "moss 003", "Argilla with two fields", "HH-RLHF", "ChatML"),
    *("prompt and completion of messages", "Capybara", "MT-Bench", "OpenOrca", "xlam"),
    *("CoQA as published", "QuAC", "ARC", "Berkeley Function Calling"),
]


@pytest.mark.parametrize("name", IN_FILES)
@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "tsv", "parquet"])
def test_every_reader_gives_the_same_record(tmp_path: Path, name: str, suffix: str):
    row, expected = LAYOUTS[name]
    path = tmp_path / f"pool.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist([row]), path)
    elif suffix in {"csv", "tsv"}:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(
                file, list(row), dialect="excel-tab" if suffix == "tsv" else "excel"
            )
            writer.writeheader()
            writer.writerow({key: as_text(cell) for key, cell in row.items()})
    else:
        path.write_text(json.dumps(row) if suffix == "jsonl" else json.dumps([row]))
    assert short(pool_of(tmp_path, path)[0]) == expected


@pytest.mark.parametrize("cell", [repr(said(*TWO)), repr(said(*TWO)).replace("}, {", "}\n {")])
def test_lists_may_be_written_as_python_or_numpy_print_them(tmp_path: Path, cell: str):
    path = tmp_path / "pool.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["messages"], [cell]])
    assert short(pool_of(tmp_path, path)[0]) == AFTER_ONE


def test_a_pool_that_was_read_once_gives_the_same_ids_again(tmp_path: Path):
    rows = [LAYOUTS[name][0] for name in ("OpenAI with tools", "Alpaca", "WildChat", "COIG")]
    for number, row in enumerate(rows):
        (tmp_path / "pool.jsonl").write_text(json.dumps(row))
        (first,) = pool_of(tmp_path, tmp_path / "pool.jsonl")
        path = tmp_path / f"again{number}.parquet"
        shutil.copy(tmp_path / "data/ingest/pool.parquet", path)
        assert pool_of(tmp_path, path)[0].id == first.id


def pool_of(root: Path, path: Path, **changes: Any) -> list[Any]:
    """Return the records that ingest makes of a file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        Path("none.jsonl").touch()
        StepWorkspace(root).update(ingest={**SECTION, "source": path.name, **changes})
        Stage("ingest", root).run(work)
    rows = read_table(root / "data/ingest/pool.parquet", POOL).to_pylist()
    return [SimpleNamespace(**row) for row in rows]


CHAT = {"messages": said("system: S", *TWO, "user: Q3"), "id": 5}


def test_the_first_turn_or_every_turn_can_be_the_instruction():
    last, first = (short(record(CHAT, turn=turn)) for turn in ("last", "first"))
    assert last == Expected("Q3", system="S", turns=(*EARLIER, ("u", "Q2"), ("a", "A2")))
    assert first == Expected("Q", "A", system="S")
    all_ = results([CHAT], turn="all")
    assert [short(result.record) for result in all_] == [
        first,
        Expected("Q2", "A2", system="S", turns=EARLIER),
        last,
    ]
    assert len({result.record.id for result in all_}) == 3
    later = [json.loads(result.record.extra).get("later_turns") for result in all_]
    assert later == [None] * 3
    assert json.loads(record(CHAT, turn="first").extra) == {
        "id": 5,
        "n_turns": 5,
        "later_turns": said(*TWO[2:], "user: Q3"),
    }


def test_dialogues_that_differ_only_in_context_are_different_records():
    same = {"messages": said("user: Q", "assistant: A", "user: Make it shorter.")}
    others = [
        {"messages": said("user: R", "assistant: A", "user: Make it shorter.")},
        {"messages": said("user: Q", "assistant: B", "user: Make it shorter.")},
        {"messages": said("system: S", "user: Q", "assistant: A", "user: Make it shorter.")},
        {**same, "tools": CLOCK},
    ]
    assert reasons([same, *others, same]) == [None] * 5 + [IngestDrop.REPEATED]


def test_tool_calls_and_their_results_are_kept():
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "name": "clock"}]}
    answer = {"role": "tool", "content": "noon", "tool_call_id": "1"}
    found = record({"messages": [*said("user: Q"), call, answer, *said("user: Q2")]})
    assert json.loads(found.turns) == [*said("user: Q"), {**call, "content": ""}, answer]


@pytest.mark.parametrize(
    "names",
    [
        ("user", "assistant"),
        ("Human", "GPT"),
        ("prompter", "bot"),
        (" USER ", "Model"),
        ("human", "AI"),
    ],
)
def test_roles_are_known_in_any_case_and_by_their_aliases(names: tuple[str, str]):
    user, assistant = names
    row = {"messages": said("developer: S", f"{user}: Q", f"{assistant}: A")}
    assert short(record(row)) == Expected("Q", "A", system="S")


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
    "text",
    [
        "What does <|im_start|>user mean?",
        "Explain what [INST] does.",
        "Write a README with ### Usage: and ### Response: headings.",
        "Continue: Human: hi",
        "x[1]: y",
        '["a", "b"]',
        "[1, 2, 3]",
        "Summarise.\n\nHuman: hi\nAssistant: hello",
    ],
)
def test_a_text_about_marks_is_not_a_conversation(text: str):
    assert short(record({"instruction": text})) == Expected(text)


@pytest.mark.parametrize("write", [json.dumps, list])
def test_a_column_of_lists_of_texts_holds_questions(write: Any):
    rows = [{"prompt": write(["Q", "Q2"]), "response_a": write(["A", "A2"])} for _ in range(2)]
    rows[1]["prompt"] = write(["R"])
    assert [short(result.record) for result in results(rows)] == [
        Expected("Q2", turns=(("u", "Q"),)),
        Expected("R"),
    ]


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


def test_unused_turns_are_reported_with_the_keys_to_set(caplog):
    row = {"ask": "Q2", "talk": said(*ONE)}
    record(row, columns={"instruction": "ask"})
    assert "the turns in column talk are not used" in caplog.text
    assert "ingest.columns.turns" in caplog.text
    caplog.clear()
    record(row, columns={"instruction": "ask", "turns": "talk"})
    assert not caplog.records


def test_a_column_of_earlier_turns_can_be_named():
    row = {"ask": "Q2", "past": [["Q", "A"]], "rules": "Be kind.", "api": CLOCK}
    chosen = {"instruction": "ask", "turns": "past", "system": "rules", "tools": "api"}
    found = short(record(row, columns=chosen))
    assert found == Expected("Q2", system="Be kind.", turns=EARLIER, tools=CLOCK)


def message(id_: str, parent: str | None, role: str, text: str, **more: Any) -> Row:
    return {"message_id": id_, "parent_id": parent, "role": role, "text": text, **more}


THREADS = [
    message("4", "3", "prompter", "Q2", lang="en"),
    message("1", None, "prompter", "Q", lang="en"),
    message("2", "1", "assistant", "No.", rank=1),
    message("3", "1", "assistant", "A", rank=0),
    message("5", "4", "assistant", "A2"),
    message("6", "2", "prompter", "Q3"),
]


def test_messages_of_openassistant_become_conversations_with_the_line_of_the_last_question():
    kept = [result for result in results(THREADS) if isinstance(result, KeptRow)]
    assert [(result.line, short(result.record)) for result in kept] == [
        (1, AFTER_ONE),
        (6, Expected("Q3", turns=(("u", "Q"), ("a", "No.")))),
    ]
    assert json.loads(kept[0].record.extra)["lang"] == "en"
    first = results(THREADS, turn="first")
    assert [getattr(result, "reason", None) for result in first] == [None, IngestDrop.REPEATED]
    assert short(first[0].record) == Expected("Q", "A")


def test_a_tree_in_one_row_becomes_the_same_conversations():
    nodes = {row["message_id"]: {**row, "replies": []} for row in THREADS}
    for node in nodes.values():
        if node["parent_id"]:
            nodes[node["parent_id"]]["replies"].append(node)
    kept = results([{"message_tree_id": "1", "prompt": nodes["1"]}])
    assert {short(result.record) for result in kept} == {
        AFTER_ONE,
        Expected("Q3", turns=(("u", "Q"), ("a", "No."))),
    }


def test_messages_with_a_conversation_id_are_joined():
    rows = [{"conversation_id": i % 2, **row} for i, row in enumerate(said(*TWO, "user: Q3"))]
    found = results(rows)
    assert short(found[0].record) == Expected("Q3", turns=(("u", "Q"), ("u", "Q2")))
    assert len(found) == 1  # the assistant alone asks nothing


def test_questions_with_answers_and_a_place_in_a_conversation_are_joined():
    rows = [
        {"System_Prompt": "Be kind.", "C_ID": 0, "T_ID": 0, "Text": "Q", "Completion": "A"},
        {"System_Prompt": "", "C_ID": 0, "T_ID": 1, "Text": "Q2", "Completion": "A2"},
        {"System_Prompt": "", "C_ID": 1, "T_ID": 0, "Text": "R", "Completion": "B"},
    ]  # as CLOVA Studio takes them
    found = results(rows)
    assert [(result.line, short(result.record)) for result in found] == [
        (2, AFTER_ONE._replace(system="Be kind.")),
        (3, Expected("R", "B")),
    ]
    assert json.loads(found[0].record.extra) == {"C_ID": 0, "T_ID": 1, "n_turns": 4}
    alone = results([{**row, "C_ID": n} for n, row in enumerate(rows)])
    assert [result.record.turns for result in alone] == [None] * 3


def test_messages_without_links_are_refused_with_a_fix_that_works():
    rows = [{"n": i, **row} for i, row in enumerate(said(*TWO))]
    with pytest.raises(DataError, match="no column says which messages belong together") as caught:
        results(rows)
    assert "-S 'ingest.exclude={role: [assistant]}'" in caught.value.fix
    kept = results(rows, columns={"instruction": "content"}, exclude={"role": ["assistant"]})
    assert [result.record.instruction for result in kept if isinstance(result, KeptRow)] == [
        *("Q", "Q2")
    ]
    assert reasons(rows, exclude={"role": "assistant"}) == [None, IngestDrop.EXCLUDED] * 2


def test_cycles_of_messages_do_not_loop_forever():
    rows = [message("1", "2", "user", "Q"), message("2", "1", "assistant", "A")]
    assert [short(r.record).instruction for r in results(rows)] == ["Q"]


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_public_layout_becomes_the_expected_record(name: str):
    row, expected = LAYOUTS[name]
    assert short(record(row)) == expected


def as_text(cell: Any) -> Any:
    return json.dumps(cell) if isinstance(cell, list | dict) else cell


# Text of an output is kept as it is: JSON may be what was asked for.
UNLIKE_TEXT = (
    *("a task file", "ChatGPT", "runs of", "examples of", "items of", "Helicone", "SQuAD"),
    "responses of",
)


@pytest.mark.parametrize("name", [name for name in LAYOUTS if not name.startswith(UNLIKE_TEXT)])
def test_lists_and_objects_may_be_json_text(name: str):
    row, expected = LAYOUTS[name]
    assert short(record({key: as_text(cell) for key, cell in row.items()})) == expected


# Files whose rows are not where they are expected, and the instructions that the message leads to.
HIDDEN = {
    "SQuAD.json": (
        {
            "version": "1.1",
            "data": [
                {"title": "T", "paragraphs": [{"context": "I", "qas": [{"question": "Q"}]}]},
                {"title": "U", "paragraphs": [{"context": "J", "qas": [{"question": "R"}]}]},
            ],
        },
        [Expected("Q", input="I"), Expected("R", input="J")],
    ),
    "DROP.json": (
        {
            "p1": {"passage": "I", "qa_pairs": [{"question": "Q", "answer": "A"}]},
            "p2": {"passage": "J", "qa_pairs": [{"question": "R", "answer": "B"}]},
        },
        [Expected("Q", "A", "I"), Expected("R", "B", "J")],
    ),
    "by column.json": (
        {"instruction": {"0": "Q", "1": "R"}, "output": {"0": "A", "1": "B"}},
        [Expected("Q", "A"), Expected("R", "B")],
    ),
    "lists.json": (
        {"instruction": ["Q", "R"], "output": ["A", "B"]},
        [Expected("Q", "A"), Expected("R", "B")],
    ),
    "by index.json": (
        {"0": {"instruction": "Q"}, "1": {"instruction": "R"}},
        [Expected("Q"), Expected("R")],
    ),
    "split.json": (
        {"columns": ["instruction", "output"], "index": [0], "data": [["Q", "A"]]},
        [Expected("Q", "A")],
    ),
    "the API of the viewer.json": (
        {"features": [{"name": "prompt"}], "rows": [{"row_idx": 0, "row": {"prompt": "Q"}}]},
        [Expected("Q")],
    ),
    "DialogStudio.json": (
        {
            f"X--train--{n}": {
                "dialog index": n,
                "original dialog info": {},
                "log": [{"turn id": 1, "user utterance": text, "system response": "A"}],
                "prompt": ["This is a bot that helps users."],
            }
            for n, text in enumerate(["Q", "R"])
        },
        [Expected("Q", "A"), Expected("R", "A")],
    ),
    "texts.json": (["Q", "R"], [Expected("Q"), Expected("R")]),
    "JSON in JSON.json": ([json.dumps({"instruction": "Q"})], [Expected("Q")]),
}


@pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq")
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", HIDDEN)
def test_the_command_of_a_refusal_writes_the_rows(tmp_path: Path, name: str, indent: int | None):
    whole, expected = HIDDEN[name]
    path = tmp_path / "OLD.json"
    path.write_text(json.dumps(whole, indent=indent))
    with pytest.raises(DataError) as caught:
        pool_of(tmp_path, path)
    command = caught.value.fix.split("`")[1].replace("OLD", "OLD.json")
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert [short(record) for record in pool_of(tmp_path, tmp_path / "NEW.jsonl")] == expected


def test_rows_as_python_prints_them_are_refused_with_a_command_that_works(tmp_path: Path):
    path = tmp_path / "OLD.jsonl"
    path.write_text("{'instruction': 'Q', 'output': None}\n{'instruction': \"It's\"}\n")
    with pytest.raises(DataError, match="Python dicts, not JSON") as caught:
        pool_of(tmp_path, path)
    command = caught.value.fix.split("`")[1].replace("OLD", "OLD.jsonl")
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    found = pool_of(tmp_path, tmp_path / "NEW.jsonl")
    assert [record.instruction for record in found] == ["Q", "It's"]


@pytest.mark.parametrize(
    ("content", "fix"),
    [
        ("Say hi please,hi\nSay ho please,ho\n", "such as instruction,column_2"),
        ("# exported\ninstruction,output\nQ,A\n", "remove all lines before it"),
        ("instruction^output\nQ^A\n", """ingest.table={delimiter: "^"}"""),
    ],
)
def test_a_table_without_a_usable_header_is_refused_with_a_fix(
    tmp_path: Path, content: str, fix: str
):
    (tmp_path / "pool.csv").write_text(content)
    with pytest.raises(DataError) as caught:
        pool_of(tmp_path, tmp_path / "pool.csv")
    assert fix in caught.value.fix


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


def test_replies_that_are_read_as_instructions_are_reported(caplog):
    results([{"Id": 1, "ParentId": None, "Body": "Q"}, {"Id": 2, "ParentId": 1, "Body": "A"}])
    assert "column ParentId says that some rows reply to others" in caplog.text


def test_the_whole_conversation_shares_its_document_and_the_last_question_its_input():
    row, _ = LAYOUTS["CoQA"]
    kept = [short(result.record) for result in results([row], turn="all")]
    assert [(found.instruction, found.output, found.input) for found in kept] == [
        ("Q", "A", "A long story."),
        ("Q2", "A2", "A long story."),
    ]
    belle, _ = LAYOUTS["BELLE with turns"]
    kept = [short(result.record) for result in results([{**belle, "input": "I"}], turn="all")]
    assert [found.input for found in kept] == ["", "I"]


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


def test_turns_whose_json_is_cut_off_are_dropped_with_a_reason():
    whole = json.dumps(said(*TWO))
    assert reasons([{"messages": text} for text in (whole, whole[:-9], "Q", whole)]) == [
        *(None, IngestDrop.NOT_JSON, None, IngestDrop.REPEATED),
    ]


def test_a_quote_that_is_not_closed_is_refused_with_a_fix_that_works(tmp_path: Path):
    path = tmp_path / "pool.csv"
    path.write_text('instruction,output\n"Say hi,A\nSay ho,B\n"Say ha,C\nSay he,D\n')
    with pytest.raises(DataError) as caught:
        pool_of(tmp_path, path)
    assert "-S 'ingest.table={quotes: none}'" in caught.value.fix
    found = pool_of(tmp_path, path, table={"quotes": "none"})
    assert [record.output for record in found] == ["A", "B", "C", "D"]


def test_a_line_with_one_list_is_read_as_its_rows_and_the_log_says_so(tmp_path: Path, caplog):
    (tmp_path / "pool.jsonl").write_text(json.dumps({"version": 1, "data": [{"prompt": "Q"}]}))
    assert [found.instruction for found in pool_of(tmp_path, tmp_path / "pool.jsonl")] == ["Q"]
    assert "is one object with a list" in caplog.text


@pytest.mark.skipif(shutil.which("sed") is None, reason="needs sed")
def test_unknown_roles_are_refused_with_a_command_that_works(tmp_path: Path):
    row = {"dialog": said("0_Apprentice: Q", "1_Wizard: A", role="speaker", content="text")}
    path = tmp_path / "OLD.jsonl"
    path.write_text(json.dumps(row))
    with pytest.raises(DataError, match="the roles are 0_apprentice, 1_wizard") as caught:
        pool_of(tmp_path, path)
    command = caught.value.fix.split("`")[1].replace("OLD", "OLD.jsonl").replace("NEW", "NEW.jsonl")
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert short(pool_of(tmp_path, tmp_path / "NEW.jsonl")[0]) == Expected("Q", "A")
