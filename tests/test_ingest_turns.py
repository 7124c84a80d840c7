"""Conversations: their turns and roles, and how single messages are joined into them."""

import json
from typing import Any

import pytest

from tasks.ingest.classify_rows import KeptRow
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.errors import DataError
from tests.ingest_rows import reasons, record, results
from tests.layout_parts import AFTER_ONE, CLOCK, EARLIER, ONE, TWO, Expected, Row, said, short
from tests.layouts import LAYOUTS

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


def test_turns_whose_json_is_cut_off_are_dropped_with_a_reason():
    whole = json.dumps(said(*TWO))
    assert reasons([{"messages": text} for text in (whole, whole[:-9], "Q", whole)]) == [
        *(None, IngestDrop.NOT_JSON, None, IngestDrop.REPEATED),
    ]
