"""The protocols of providers that do not speak OpenAI's, translated to it and back.

The fake provider behaves in OpenAI's protocol; here its requests and responses get the form that
a path calls for.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Body = dict[str, Any]


class Protocol(NamedTuple):
    """How a provider writes messages and replies."""

    messages: Callable[[Body], list[Body]]
    reply: Callable[[Body, str, str, tuple[int, int]], Body]  # text, finish reason, tokens


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or ())


def _with_system(system: Any, messages: list[Body]) -> list[Body]:
    plain = [{"role": m["role"], "content": _text(m["content"])} for m in messages]
    return [{"role": "system", "content": _text(system)}, *plain] if system else plain


def _anthropic_reply(body: Body, text: str, finish: str, tokens: tuple[int, int]) -> Body:
    part: Body = {"type": "text", "text": text}
    if "tool_choice" in body:  # LiteLLM's way to a schema where the model has no other
        name = body["tools"][0]["name"]
        part = {"type": "tool_use", "id": "t1", "name": name, "input": json.loads(text)}
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [part],
        "stop_reason": "max_tokens" if finish == "length" else "end_turn",
        "usage": {"input_tokens": tokens[0], "output_tokens": tokens[1]},
    }


def _gemini_messages(body: Body) -> list[Body]:
    system = body.get("systemInstruction") or body.get("system_instruction") or {}
    turns = [
        {"role": "assistant" if c["role"] == "model" else "user", "content": c["parts"]}
        for c in body["contents"]
    ]
    return _with_system(system.get("parts"), turns)


def _gemini_reply(_: Body, text: str, finish: str, tokens: tuple[int, int]) -> Body:
    return {
        "candidates": [
            {
                "content": {"role": "model", "parts": [{"text": text}]},
                "finishReason": "MAX_TOKENS" if finish == "length" else "STOP",
                "index": 0,
            }
        ],
        "usageMetadata": {
            "promptTokenCount": tokens[0],
            "candidatesTokenCount": tokens[1],
            "totalTokenCount": sum(tokens),
        },
        "modelVersion": "fake",
    }


def _ollama_reply(body: Body, text: str, finish: str, tokens: tuple[int, int]) -> Body:
    return {
        "model": body["model"],
        "created_at": "2026-01-01T00:00:00Z",
        "message": {"role": "assistant", "content": text},
        "done": True,
        "done_reason": finish,
        "prompt_eval_count": tokens[0],
        "eval_count": tokens[1],
    }


def _bedrock_reply(_: Body, text: str, finish: str, tokens: tuple[int, int]) -> Body:
    return {
        "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
        "stopReason": "max_tokens" if finish == "length" else "end_turn",
        "usage": {
            "inputTokens": tokens[0],
            "outputTokens": tokens[1],
            "totalTokens": sum(tokens),
        },
        "metrics": {"latencyMs": 1},
    }


PROTOCOLS: Mapping[str, Protocol] = {
    "/v1/messages": Protocol(
        lambda body: _with_system(body.get("system"), body["messages"]), _anthropic_reply
    ),
    ":generateContent": Protocol(_gemini_messages, _gemini_reply),
    "/api/chat": Protocol(lambda body: body["messages"], _ollama_reply),
    "/converse": Protocol(
        lambda body: _with_system(body.get("system"), body["messages"]), _bedrock_reply
    ),
}
"""By the end of the path."""


def protocol_of(path: str) -> Protocol | None:
    """Return the protocol of a path; None for OpenAI's."""
    bare = path.partition("?")[0]
    return next((known for end, known in PROTOCOLS.items() if bare.endswith(end)), None)


def translated(protocol: Protocol, body: Body, response: bytes) -> bytes:
    """Return an OpenAI response in another protocol."""
    given = json.loads(response)
    (choice,) = given["choices"]
    usage = given.get("usage") or {}
    tokens = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
    text = choice["message"]["content"] or ""
    return json.dumps(protocol.reply(body, text, choice["finish_reason"], tokens)).encode()
