"""Layouts of public pools: a row of each, and the record that it becomes."""

import json
from typing import Any, NamedTuple

Row = dict[str, Any]


class Expected(NamedTuple):
    """The parts of a record; a turn is a pair of its role's first letter and its text."""

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
