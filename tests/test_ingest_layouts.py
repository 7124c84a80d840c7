"""Layouts of public pools, and the record that each becomes."""

import csv
import json
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.ingest.classify import KeptRow
from tasks.ingest.guess import guess
from tasks.ingest.step import work
from tasks.lib.core.drops import IngestDrop
from tasks.lib.core.errors import DataError, ParamError
from tasks.lib.core.schemas import POOL
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table
from tests.ingest_rows import SECTION, reasons, record, results
from tests.workspaces import StepWorkspace

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
CLOCK = [{"name": "clock", "parameters": {"zone": "UTC"}}]

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
    "Chatbot Arena": (
        {"question_id": "f", "model_a": "m", "conversation_a": said(*TWO), "winner": "tie"},
        AFTER_ONE,
    ),
    "PIPPA": (
        {"bot_id": "b", "conversation": [{"message": "Q", "is_human": True}]},
        Expected("Q"),
    ),
    "dialogstudio": (
        {"index": 1, "log": [{"turn id": 1, "user utterance": "Q", "system response": "A"}]},
        Expected("Q", "A"),
    ),
    "Magicoder": ({"lang": "c", "problem": "Q", "solution": "A"}, Expected("Q", "A")),
    "OpenAI's evals": (
        {"input": said("system: S", "user: Q"), "ideal": "A"},
        Expected("Q", "A", system="S"),
    ),
    "Claude's export": (
        {
            "uuid": "u",
            "chat_messages": said("human: Q", "assistant: A", role="sender", content="text"),
        },
        Expected("Q", "A"),
    ),
    "ChatGPT's export": (
        {
            "title": "T",
            "mapping": {
                "r": {"id": "r", "message": None, "parent": None, "children": ["a"]},
                "a": {
                    "parent": "r",
                    "message": {
                        "author": {"role": "user"},
                        "content": {"content_type": "text", "parts": ["Q"]},
                    },
                },
                "b": {
                    "parent": "a",
                    "message": {
                        "author": {"role": "assistant"},
                        "content": {"content_type": "text", "parts": ["A"]},
                    },
                },
            },
        },
        Expected("Q", "A"),
    ),
    "tickets": (
        {
            "ticket": 5,
            "comments": [
                {"author": "customer", "body": "Q"},
                {"author": "agent", "body": "A"},
                {"author": "customer", "body": "Q2"},
            ],
        },
        Expected("Q2", turns=EARLIER),
    ),
    "a table with headings for people": (
        {"No.": 1, "User prompt": "Q", "System Prompt": "Be kind."},
        Expected("Q", system="Be kind."),
    ),
    "LongBench": ({"input": "Q", "context": "I", "answers": "A"}, Expected("Q", "A", "I")),
    "BoolQ": ({"question": "Q", "passage": "I", "answer": "A"}, Expected("Q", "A", "I")),
    "instructions": ({"instructions": "Q", "input": "I", "output": "A"}, Expected("Q", "A", "I")),
    "Prodigy": ({"text": "Q", "spans": [], "answer": "accept"}, Expected("Q")),
    "LangChain": (
        {"messages": said("system: S", "human: Q", "ai: A", role="type")},
        Expected("Q", "A", system="S"),
    ),
    "LangChain's stored messages": (
        {"messages": [{"type": "human", "data": {"content": "Q", "additional_kwargs": {}}}]},
        Expected("Q"),
    ),
    "runs of LangSmith": (
        {
            "inputs": {"messages": [[{"lc": 1, "kwargs": {"content": "Q", "type": "human"}}]]},
            "outputs": {"generations": [[{"text": "A"}]]},
        },
        Expected("Q", "A"),
    ),
    "examples of LangSmith": (
        {"inputs": {"question": "Q"}, "outputs": {"answer": "A"}, "metadata": {}},
        Expected("Q", "A"),
    ),
    "items of Langfuse": (
        {"input": said("user: Q"), "expectedOutput": said("assistant: A")[0]},
        Expected("Q", "A"),
    ),
    "Helicone": (
        {
            "request": {"model": "m", "messages": said("user: Q")},
            "response": {"choices": [{"index": 0, "message": said("assistant: A")[0]}]},
        },
        Expected("Q", "A"),
    ),
    "a row as JSON in a column": (
        {"n": 1, "text": json.dumps({"instruction": "Q", "output": "A"})},
        Expected("Q", "A"),
    ),
    "HelpSteer 2": (
        {"prompt": "Q<extra_id_1>Assistant\nA\n<extra_id_1>User\nQ2", "response": "A2"},
        AFTER_ONE,
    ),
    "OIG": ({"text": "<human>: Q\n<bot>: A\n<human>: Q2\n<bot>: A2"}, AFTER_ONE),
    "RefGPT": ({"dialogue": "<user> Q <assistant> A <user> Q2 <assistant> A2"}, AFTER_ONE),
    "Vicuna": (
        {"text": "A chat. USER: Q ASSISTANT: A</s>USER: Q2 ASSISTANT: A2</s>"},
        AFTER_ONE._replace(system="A chat."),
    ),
    "DeepSeek": (
        {"text": "<｜begin▁of▁sentence｜>S<｜User｜>Q<｜Assistant｜>A<｜end▁of▁sentence｜>"},
        Expected("Q", "A", system="S"),
    ),
    "gpt-oss": (
        {
            "text": "<|start|>system<|message|>S<|end|><|start|>user<|message|>Q<|end|>"
            "<|start|>assistant<|channel|>final<|message|>A<|return|>"
        },
        Expected("Q", "A", system="S"),
    ),
    "Command R": (
        {
            "text": "<BOS_TOKEN><|START_OF_TURN_TOKEN|><|USER_TOKEN|>Q<|END_OF_TURN_TOKEN|>"
            "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>A<|END_OF_TURN_TOKEN|>"
        },
        Expected("Q", "A"),
    ),
    "ShareGPT of another model": (
        {"conversations": said("human: Q", "bing: A", role="from", content="value")},
        Expected("Q", "A"),
    ),
    "Schema-Guided Dialogue": (
        {"turns": said("USER: Q", "SYSTEM: A", "USER: Q2", role="speaker", content="utterance")},
        Expected("Q2", turns=EARLIER),
    ),
    "MultiWOZ": (
        {"turns": {"turn_id": ["0", "1"], "speaker": [0, 1], "utterance": ["Q", "A"]}},
        Expected("Q", "A"),
    ),
    "a side in each object": (
        {"conversation": [{"user": "Q"}, {"assistant": "A"}, {"user": "Q2"}]},
        Expected("Q2", turns=EARLIER),
    ),
    "results of tools in turns of the user's": (
        {
            "messages": [
                *said("user: Q"),
                {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}]},
                {"role": "user", "content": [{"type": "tool_result", "content": "7"}]},
                {"role": "assistant", "content": None, "refusal": "A"},
            ]
        },
        Expected("Q", "A"),
    ),
    "the viewer of Hugging Face": (
        {"row_idx": 0, "row": {"instruction": "Q", "input": "I", "output": "A"}},
        Expected("Q", "A", "I"),
    ),
    "CoQA": (
        {
            "story": "A long story.",
            "questions": ["Q", "Q2"],
            "answers": {"input_text": ["A", "A2"], "answer_start": [1, 2]},
        },
        AFTER_ONE._replace(input="A long story."),
    ),
    "CoQA as published": (
        {
            "story": "A long story.",
            "questions": [{"input_text": "Q", "turn_id": 1}, {"input_text": "Q2", "turn_id": 2}],
            "answers": [{"input_text": "A", "turn_id": 1}, {"input_text": "A2", "turn_id": 2}],
        },
        AFTER_ONE._replace(input="A long story."),
    ),
    "QuAC": (
        {
            "background": "B",
            "context": "A long section.",
            "questions": ["Q", "Q2"],
            "followups": [0, 1],
            "answers": {"texts": [["A", "B"], ["A2"]], "answer_starts": [[1, 2], [3]]},
        },
        AFTER_ONE._replace(input="A long section."),
    ),
    "SQuAD in rows": (
        {"context": "I", "question": "Q", "answers": {"text": ["A"], "answer_start": [1]}},
        Expected("Q", "A", "I"),
    ),
    "MMLU": (
        {"question": "Q", "choices": ["x", "y"], "answer": 1, "subject": "s"},
        Expected("Q", "1", "A. x\nB. y"),
    ),
    "ARC": (
        {"question": "Q", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"},
        Expected("Q", None, "1. x\n2. y"),
    ),
    "MedQA": (
        {"question": "Q", "options": {"A": "x", "B": "y"}, "answer": "x"},
        Expected("Q", "x", "A. x\nB. y"),
    ),
    "RACE": (
        {"article": "I", "question": "Q", "options": ["(1) x", "(2) y"], "answer": "B"},
        Expected("Q", "B", "I\n\n(1) x\n(2) y"),
    ),
    "a conversation about a document": (
        {"document": "Some long text.", "messages": said(*TWO)},
        AFTER_ONE._replace(input="Some long text."),
    ),
    "Berkeley Function Calling": (
        {
            "question": [said("user: Q"), said("user: Q2")],
            "function": CLOCK,
            "initial_config": {"a": 1},
        },
        Expected("Q2", turns=(("u", "Q"),), tools=CLOCK),
    ),
    "SWE-bench": (
        {"repo": "a/b", "patch": "diff --git a b", "problem_statement": "Q", "hints_text": ""},
        Expected("Q"),
    ),
    "GAIA": ({"Question": "Q", "Level": 1, "Final answer": "A"}, Expected("Q", "A")),
    "preferences of OpenAI": (
        {
            "input": {"messages": said("user: Q"), "tools": CLOCK},
            "preferred_output": said("assistant: A"),
            "non_preferred_output": said("assistant: B"),
        },
        Expected("Q", "A", tools=CLOCK),
    ),
    "responses of OpenAI": (
        {
            "instructions": "Be kind.",
            "input": [
                *said("user: Q"),
                {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "1"},
                {"type": "function_call_output", "call_id": "1", "output": "7"},
            ],
            "output": [
                {"type": "reasoning", "summary": []},
                {"type": "message", "role": "assistant", "content": [{"text": "A"}]},
            ],
        },
        Expected("Q", "A", system="Be kind."),
    ),
    "spans of OpenInference": (
        {
            "attributes": {
                "llm": {
                    "input_messages": [{"message": said("user: Q")[0]}],
                    "output_messages": [{"message": said("assistant: A")[0]}],
                }
            }
        },
        Expected("Q", "A"),
    ),
    "a system prompt between turns": (
        {"messages": said("user: Q", "system: Be brief.", "user: Q2")},
        Expected("Q2", turns=(("u", "Q"), ("s", "Be brief."))),
    ),
    "a system prompt at the end": (
        {"messages": said("user: Q", "system: Be brief.")},
        Expected("Q"),
    ),
    "history as one text": (
        {"instruction": "Q2", "history": "User: Q\nAssistant: A"},
        Expected("Q2", turns=EARLIER),
    ),
    "an object with a material": (
        {"data": {"instruction": "Q", "context": "I"}},
        Expected("Q", input="I"),
    ),
    "CSDS": (
        {
            "QRole": "用户",
            "QA": [{"QueSumm": "x", "AnsSummLong": ["y"]}],
            "Dialogue": said("Q: Q", "A: A", "Q: Q2", role="speaker", content="utterance"),
            "FinalSumm": ["z"],
        },
        Expected("Q2", turns=EARLIER),
    ),
    "Taskmaster 3": (
        {
            "conversation_id": "dlg-1",
            "instructions": "SCENARIO: You buy tickets.",
            "utterances": [
                {"index": 0, "segments": [{"text": "2"}], "speaker": "user", "text": "Q"},
                {"index": 1, "segments": [], "speaker": "assistant", "text": "A"},
            ],
        },
        Expected("Q", "A", system="SCENARIO: You buy tickets."),
    ),
    "a table with the two sides": ({"Human": "Q", "AI": "A"}, Expected("Q", "A")),
    "agents with tool definitions": (
        {"conversations": said(*ONE), "agent": "terminus", "task": "t", "tool_definitions": CLOCK},
        Expected("Q", "A", tools=CLOCK),
    ),
    "trajectories with messages as text": (
        {
            "task_name": "t",
            "task_status": "{}",
            "messages": json.dumps(said("user: Q", "assistant: call", "tool: 7", "assistant: A")),
        },
        Expected("Q", "A"),
    ),
    "red-team attempts": (
        {"transcript": "\n\nHuman: Q\n\nAssistant: A\n\nHuman: Q2", "rating": 4.0},
        Expected("Q2", turns=EARLIER),
    ),
}


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
