"""Layouts of public pools with a list of messages or turns in each row."""

import json

from tests.layout_parts import AFTER_ONE, CLOCK, EARLIER, ONE, TWO, Expected, Row, said

SHAREGPT = said("human: Q", "gpt: A", "human: Q2", "gpt: A2", role="from", content="value")

CHATS: dict[str, tuple[Row, Expected]] = {
    "Alpaca with history": (
        {"instruction": "Q2", "input": "", "output": "A2", "history": [["Q", "A"]]},
        AFTER_ONE,
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
    "Magpie": (
        {"instruction": "Q", "response": "A", "conversations": SHAREGPT[:2]},
        Expected("Q", "A"),
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
    "Chatbot Arena": (
        {"question_id": "f", "model_a": "m", "conversation_a": said(*TWO), "winner": "tie"},
        AFTER_ONE,
    ),
    "PIPPA": ({"bot_id": "b", "conversation": [{"message": "Q", "is_human": True}]}, Expected("Q")),
    "dialogstudio": (
        {"index": 1, "log": [{"turn id": 1, "user utterance": "Q", "system response": "A"}]},
        Expected("Q", "A"),
    ),
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
}
