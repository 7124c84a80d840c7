"""Layouts of public pools, each as the record that it becomes."""

import json
from typing import Any, NamedTuple

import pytest

from tasks.ingest.classify import KeptRow
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.errors import DataError
from tests.ingest_rows import reasons, record, results

Row = dict[str, Any]


class Expected(NamedTuple):
    """The parts of a record; turns are pairs of the first letter of a role and a text."""

    instruction: str
    output: str | None = None
    input: str = ""
    system: str | None = None
    turns: tuple[tuple[str, str], ...] = ()
    tools: Any = None


def short(found: Any) -> Expected:
    turns = tuple((turn["role"][0], turn["content"]) for turn in json.loads(found.turns or "[]"))
    tools = json.loads(found.tools) if found.tools else None
    return Expected(found.instruction, found.output, found.input, found.system, turns, tools)


def said(*parts: str, role: str = "role", content: str = "content") -> list[Row]:
    """Return messages; each part is a role and a text, such as ``user: Q``."""
    pairs = [part.partition(": ") for part in parts]
    return [{role: name, content: text} for name, _, text in pairs]


ONE = ("user: Q", "assistant: A")
TWO = (*ONE, "user: Q2", "assistant: A2")
EARLIER = (("u", "Q"), ("a", "A"))
SHAREGPT = said("human: Q", "gpt: A", "human: Q2", "gpt: A2", role="from", content="value")
AFTER_ONE = Expected("Q2", "A2", turns=EARLIER)
CLOCK = [{"name": "clock", "parameters": {}}]

LAYOUTS: dict[str, tuple[Row, Expected]] = {
    "Alpaca": ({"instruction": "Q", "input": "I", "output": "A"}, Expected("Q", "A", "I")),
    "Alpaca with history": (
        {"instruction": "Q2", "input": "", "output": "A2", "history": [["Q", "A"]]},
        AFTER_ONE,
    ),
    "Dolly": (
        {"instruction": "Q", "context": "I", "response": "A", "category": "qa"},
        Expected("Q", "A", "I"),
    ),
    "FLAN": ({"inputs": "Q", "targets": "A", "task": "t"}, Expected("Q", "A")),
    "P3": (
        {
            "inputs": [3, 4],
            "inputs_pretokenized": "Q",
            "targets": [5],
            "targets_pretokenized": "A",
        },
        Expected("Q", "A"),
    ),
    "Natural Instructions": (
        {"definition": "Q", "inputs": "I", "targets": "A", "task_name": "t"},
        Expected("Q", "A", "I"),
    ),
    "a task file of Natural Instructions": (
        {"Definition": ["Q"], "Instances": [{"id": "t-1", "input": "I", "output": ["A"]}]},
        Expected("Q", "A", "I"),
    ),
    "self-instruct": (
        {"id": "seed_task_0", "instruction": "Q", "instances": [{"input": "I", "output": "A"}]},
        Expected("Q", "A", "I"),
    ),
    "Firefly": ({"kind": "NLI", "input": "Q", "target": "A"}, Expected("Q", "A")),
    "OpenOrca": (
        {"id": "niv.1", "system_prompt": "Be kind.", "question": "Q", "response": "A"},
        Expected("Q", "A", system="Be kind."),
    ),
    "SlimOrca": (
        {"conversations": said("system: S", "human: Q", "gpt: A", role="from", content="value")},
        Expected("Q", "A", system="S"),
    ),
    "ShareGPT": ({"id": "x", "conversations": SHAREGPT}, AFTER_ONE),
    "OpenHermes": (
        {"conversations": SHAREGPT, "system_prompt": None, "source": "x", "idx": 3},
        AFTER_ONE,
    ),
    "Hugging Face sequences": (
        {"conversations": {"from": ["human", "gpt"], "value": ["Q", "A"]}},
        Expected("Q", "A"),
    ),
    "UltraChat": ({"id": "0", "data": ["Q", "A", "Q2", "A2"]}, AFTER_ONE),
    "UltraChat 200k": ({"prompt": "Q", "prompt_id": "f", "messages": said(*TWO)}, AFTER_ONE),
    "LIMA": ({"conversations": ["Q"], "source": "x"}, Expected("Q")),
    "LMSYS-Chat-1M": (
        {"conversation_id": "f", "model": "m", "conversation": said(*TWO), "turn": 2},
        AFTER_ONE,
    ),
    "WildChat": (
        {"conversation_hash": "f", "conversation": said(*ONE, "user: Q2"), "toxic": False},
        Expected("Q2", turns=EARLIER),
    ),
    "Tulu": ({"id": "x", "messages": said("system: S", *ONE)}, Expected("Q", "A", system="S")),
    "Capybara": (
        {"source": "x", "conversation": [{"input": "Q", "output": "A"}]},
        Expected("Q", "A"),
    ),
    "XTuner": (
        {"conversation": [{"system": "S", "input": "Q", "output": "A"}, {"input": "Q2"}]},
        Expected("Q2", system="S", turns=EARLIER),
    ),
    "Firefly with turns": (
        {"conversation": [{"human": "Q", "assistant": "A"}, {"human": "Q2", "assistant": "A2"}]},
        AFTER_ONE,
    ),
    "COIG": (
        {"instruction": "Be exact.", "conversations": [{"question": "Q", "answer": "A"}]},
        Expected("Q", "A", system="Be exact."),
    ),
    "MT-Bench": ({"question_id": 81, "turns": ["Q", "Q2"]}, Expected("Q2", turns=(("u", "Q"),))),
    "AlpacaEval": (
        {"dataset": "x", "instruction": "Q", "output": "A", "generator": "m"},
        Expected("Q", "A"),
    ),
    "Magpie": (
        {"instruction": "Q", "response": "A", "conversations": SHAREGPT[:2]},
        Expected("Q", "A"),
    ),
    "HH-RLHF": (
        {
            "chosen": "\n\nHuman: Q\n\nAssistant: A\n\nHuman: Q2\n\nAssistant: A2",
            "rejected": "\n\nHuman: Q\n\nAssistant: A\n\nHuman: Q2\n\nAssistant: No.",
        },
        AFTER_ONE,
    ),
    "UltraFeedback": (
        {"prompt": "Q", "chosen": said(*ONE), "rejected": said(*ONE), "messages": said(*ONE)},
        Expected("Q", "A"),
    ),
    "preferences with an implicit prompt": (
        {"chosen": said(*ONE), "rejected": said("user: Q", "assistant: No.")},
        Expected("Q", "A"),
    ),
    "prompt and completion of messages": (
        {"prompt": said("system: S", "user: Q"), "completion": said("assistant: A")},
        Expected("Q", "A", system="S"),
    ),
    "Nemotron": ({"input": said(*ONE, "user: Q2"), "output": "A2"}, AFTER_ONE),
    "guanaco": ({"text": "### Human: Q### Assistant: A### Human: Q2### Assistant: A2"}, AFTER_ONE),
    "a filled template of Alpaca": (
        {"text": "Below is a task.\n\n### Instruction:\nQ\n\n### Input:\nI\n\n### Response:\nA"},
        Expected("Q\n\nI", "A", system="Below is a task."),
    ),
    "Llama 2": (
        {"text": "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nQ [/INST] A </s><s>[INST] Q2 [/INST] A2 </s>"},
        Expected("Q2", "A2", system="S", turns=EARLIER),
    ),
    "Mistral": ({"prompt": "[INST] Q [/INST]"}, Expected("Q")),
    "Llama 3": (
        {
            "text": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nQ<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nA<|eot_id|>"
        },
        Expected("Q", "A", system="S"),
    ),
    "ChatML": (
        {
            "text": "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n"
            "<|im_start|>assistant\n"
        },
        Expected("Q", system="S"),
    ),
    "Zephyr": ({"text": "<|user|>\nQ</s>\n<|assistant|>\nA</s>"}, Expected("Q", "A")),
    "Gemma": (
        {"text": "<bos><start_of_turn>user\nQ<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>"},
        Expected("Q", "A"),
    ),
    "Baize": (
        {"input": "The conversation:\n[|Human|] Q\n[|AI|] A\n[|Human|] Q2\n[|AI|] "},
        Expected("Q2", system="The conversation:", turns=EARLIER),
    ),
    "moss 002": (
        {"plain_text": "You are MOSS.\n[Human]: Q<eoh> [MOSS]: A<eoa>", "num_turns": 1},
        Expected("Q", "A", system="You are MOSS."),
    ),
    "moss 003": (
        {
            "meta_instruction": "You are MOSS.",
            "chat": {
                "turn_1": {"Human": "Q", "MOSS": "A"},
                "turn_2": {"Human": "Q2", "MOSS": "A2"},
            },
        },
        Expected("Q2", "A2", system="You are MOSS.", turns=EARLIER),
    ),
    "BELLE with turns": (
        {"instruction": "Human: Q\nAssistant: A\nHuman: Q2\nAssistant:", "output": "A2"},
        AFTER_ONE,
    ),
    "glaive": (
        {
            "system": "SYSTEM: You may call functions.",
            "chat": "USER: Q\n\n\nASSISTANT: A <|endoftext|>\n\n\nFUNCTION RESPONSE: 7\n\n\n"
            "USER: Q2\n\n\nASSISTANT: A2 <|endoftext|>",
        },
        Expected(
            "Q2", "A2", system="SYSTEM: You may call functions.", turns=(*EARLIER, ("t", "7"))
        ),
    ),
    "xlam": (
        {"id": 0, "query": "Q", "answers": "[7]", "tools": json.dumps(CLOCK)},
        Expected("Q", "[7]", tools=CLOCK),
    ),
    "OpenAI with tools": (
        {"messages": said(*ONE), "tools": CLOCK, "parallel_tool_calls": False},
        Expected("Q", "A", tools=CLOCK),
    ),
    "OpenAI's batches": (
        {"custom_id": "1", "method": "POST", "body": {"model": "m", "messages": said(*ONE)}},
        Expected("Q", "A"),
    ),
    "ToolBench": (
        {
            "conversations": said(
                *("system: S", "user: Q", "assistant: call", "function: 7", "assistant: A"),
                role="from",
                content="value",
            )
        },
        Expected("Q", "A", system="S"),
    ),
    "Anthropic": (
        {"system": "Be kind.", "messages": [{"role": "user", "content": [{"text": "Q"}]}]},
        Expected("Q", system="Be kind."),
    ),
    "Gemini": (
        {
            "systemInstruction": {"parts": [{"text": "Be kind."}]},
            "contents": [{"role": "user", "parts": [{"text": "Q"}]}],
        },
        Expected("Q", system="Be kind."),
    ),
    "Argilla": ({"fields": {"text": "Q"}, "responses": []}, Expected("Q")),
    "Argilla with two fields": (
        {"fields": {"instruction": "Q", "response": "A"}, "metadata": {"prompt": "no"}},
        Expected("Q", "A"),
    ),
    "Label Studio": ({"id": 1, "data": {"text": "Q"}, "annotations": []}, Expected("Q")),
    "the viewer of Hugging Face": (
        {"row_idx": 0, "row": {"instruction": "Q", "input": "I", "output": "A"}},
        Expected("Q", "A", "I"),
    ),
}


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


def test_messages_with_the_id_of_their_conversation_are_put_together():
    rows = [{"conversation_id": i % 2, **row} for i, row in enumerate(said(*TWO, "user: Q3"))]
    found = results(rows)
    assert short(found[0].record) == Expected("Q3", turns=(("u", "Q"), ("u", "Q2")))
    assert len(found) == 1  # the assistant alone asks nothing


def test_messages_that_nothing_links_are_refused_with_a_way_out_that_works():
    rows = [{"n": i, **row} for i, row in enumerate(said(*TWO))]
    with pytest.raises(DataError, match="no column says which messages belong together") as caught:
        results(rows)
    assert "-S 'ingest.exclude={role: [assistant]}'" in caught.value.fix
    kept = results(rows, columns={"instruction": "content"}, exclude={"role": ["assistant"]})
    assert [result.record.instruction for result in kept if isinstance(result, KeptRow)] == [
        *("Q", "Q2")
    ]
    assert reasons(rows, exclude={"role": "assistant"}) == [None, IngestDrop.EXCLUDED] * 2


def test_endless_threads_end():
    rows = [message("1", "2", "user", "Q"), message("2", "1", "assistant", "A")]
    assert [short(r.record).instruction for r in results(rows)] == ["Q"]


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_public_layout_becomes_the_record_that_it_means(name: str):
    row, expected = LAYOUTS[name]
    assert short(record(row)) == expected


def as_text(cell: Any) -> Any:
    return json.dumps(cell) if isinstance(cell, list | dict) else cell


@pytest.mark.parametrize("name", [name for name in LAYOUTS if not name.startswith("a task file")])
def test_lists_and_objects_may_be_json_text(name: str):
    row, expected = LAYOUTS[name]
    assert short(record({key: as_text(cell) for key, cell in row.items()})) == expected
