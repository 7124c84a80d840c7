"""Layouts of public pools with a question or a marked text in each row, and the records."""

import json

from tests.chat_layouts import CHATS
from tests.layout_parts import AFTER_ONE, CLOCK, EARLIER, Expected, Row

QUESTIONS: dict[str, tuple[Row, Expected]] = {
    "Alpaca": ({"instruction": "Q", "input": "I", "output": "A"}, Expected("Q", "A", "I")),
    "Dolly": (
        {"instruction": "Q", "context": "I", "response": "A", "category": "qa"},
        Expected("Q", "A", "I"),
    ),
    "FLAN": ({"inputs": "Q", "targets": "A", "task": "t"}, Expected("Q", "A")),
    "P3": (
        {"inputs": [3, 4], "inputs_pretokenized": "Q", "targets": [5], "targets_pretokenized": "A"},
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
    "AlpacaEval": (
        {"dataset": "x", "instruction": "Q", "output": "A", "generator": "m"},
        Expected("Q", "A"),
    ),
    "xlam": (
        {"id": 0, "query": "Q", "answers": "[7]", "tools": json.dumps(CLOCK)},
        Expected("Q", "[7]", tools=CLOCK),
    ),
    "Argilla": ({"fields": {"text": "Q"}, "responses": []}, Expected("Q")),
    "Argilla with two fields": (
        {"fields": {"instruction": "Q", "response": "A"}, "metadata": {"prompt": "no"}},
        Expected("Q", "A"),
    ),
    "Label Studio": ({"id": 1, "data": {"text": "Q"}, "annotations": []}, Expected("Q")),
    "Magicoder": ({"lang": "c", "problem": "Q", "solution": "A"}, Expected("Q", "A")),
    "a table with headings for people": (
        {"No.": 1, "User prompt": "Q", "System Prompt": "Be kind."},
        Expected("Q", system="Be kind."),
    ),
    "LongBench": ({"input": "Q", "context": "I", "answers": "A"}, Expected("Q", "A", "I")),
    "BoolQ": ({"question": "Q", "passage": "I", "answer": "A"}, Expected("Q", "A", "I")),
    "instructions": ({"instructions": "Q", "input": "I", "output": "A"}, Expected("Q", "A", "I")),
    "Prodigy": ({"text": "Q", "spans": [], "answer": "accept"}, Expected("Q")),
    "examples of LangSmith": (
        {"inputs": {"question": "Q"}, "outputs": {"answer": "A"}, "metadata": {}},
        Expected("Q", "A"),
    ),
    "a row as JSON in a column": (
        {"n": 1, "text": json.dumps({"instruction": "Q", "output": "A"})},
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
    "SWE-bench": (
        {"repo": "a/b", "patch": "diff --git a b", "problem_statement": "Q", "hints_text": ""},
        Expected("Q"),
    ),
    "GAIA": ({"Question": "Q", "Level": 1, "Final answer": "A"}, Expected("Q", "A")),
    "an object with a material": (
        {"data": {"instruction": "Q", "context": "I"}},
        Expected("Q", input="I"),
    ),
    "a table with the two sides": ({"Human": "Q", "AI": "A"}, Expected("Q", "A")),
}

MARKED_TEXTS: dict[str, tuple[Row, Expected]] = {
    "HH-RLHF": (
        {
            "chosen": "\n\nHuman: Q\n\nAssistant: A\n\nHuman: Q2\n\nAssistant: A2",
            "rejected": "\n\nHuman: Q\n\nAssistant: A\n\nHuman: Q2\n\nAssistant: No.",
        },
        AFTER_ONE,
    ),
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
    "history as one text": (
        {"instruction": "Q2", "history": "User: Q\nAssistant: A"},
        Expected("Q2", turns=EARLIER),
    ),
    "red-team attempts": (
        {"transcript": "\n\nHuman: Q\n\nAssistant: A\n\nHuman: Q2", "rating": 4.0},
        Expected("Q2", turns=EARLIER),
    ),
}

LAYOUTS = QUESTIONS | MARKED_TEXTS | CHATS
