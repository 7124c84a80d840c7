"""The protocols of providers: how a question arrives, and how a reply or an error goes back.

Behaviours in `tests.behaviours` speak OpenAI's chat completions; for another path, the server
translates what they say.
"""

import json
from typing import Any


def messages_of(path: str, body: dict[str, Any]) -> list[dict[str, str]]:
    """Return the messages of a request as roles and texts."""
    if path.endswith(":generateContent"):
        system = body.get("system_instruction") or {}
        turns = [("system", system.get("parts", []))] if system else []
        turns += [(turn["role"], turn["parts"]) for turn in body["contents"]]
        return [
            {"role": "assistant" if role == "model" else role, "content": _joined(parts)}
            for role, parts in turns
        ]
    messages = [{"role": m["role"], "content": _joined(m["content"])} for m in body["messages"]]
    if "system" in body:
        messages.insert(0, {"role": "system", "content": _joined(body["system"])})
    return messages


def limit_of(path: str, body: dict[str, Any]) -> int:
    """Return the limit on the tokens of the reply."""
    if path.endswith(":generateContent"):
        return int(body["generationConfig"]["max_output_tokens"])
    if path.endswith("/api/chat"):
        return int(body["options"]["num_predict"])
    if path.endswith("/converse"):
        return int(body["inferenceConfig"]["maxTokens"])
    return int(body.get("max_completion_tokens") or body["max_tokens"])


def translated(path: str, body: dict[str, Any], answer: bytes) -> bytes:
    """Return a chat completion, or an error, in the protocol of the path."""
    for suffix, (reply, error) in _PROTOCOLS.items():
        if path.endswith(suffix):
            given = json.loads(answer)
            said = error(given["error"]) if "error" in given else reply(given, body)
            return json.dumps(said).encode()
    return answer


def _joined(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def _anthropic(completion: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    text, usage, reason = _facts(completion)
    content: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    if text and body.get("tools"):  # how a schema is sent to older models
        name = body["tools"][0]["name"]
        content = [{"type": "tool_use", "id": "t1", "name": name, "input": json.loads(text)}]
    reasons = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}
    return {
        "id": completion["id"],
        "type": "message",
        "role": "assistant",
        "model": completion["model"],
        "content": content,
        "stop_reason": reasons[reason],
        "usage": {
            "input_tokens": usage["prompt_tokens"],
            "output_tokens": usage["completion_tokens"],
        },
    }


def _gemini(completion: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    text, usage, reason = _facts(completion)
    n_thoughts = usage["completion_tokens_details"]["reasoning_tokens"]
    reasons = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}
    content = {"role": "model", "parts": [{"text": text}] if text else []}
    return {
        "candidates": [{"index": 0, "content": content, "finishReason": reasons[reason]}],
        "usageMetadata": {
            "promptTokenCount": usage["prompt_tokens"],
            "candidatesTokenCount": usage["completion_tokens"] - n_thoughts,
            "thoughtsTokenCount": n_thoughts,
            "totalTokenCount": usage["total_tokens"],
        },
        "modelVersion": completion["model"],
    }


def _ollama(completion: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    text, usage, reason = _facts(completion)
    return {
        "model": completion["model"],
        "created_at": "2026-11-01T00:00:00Z",
        "message": {"role": "assistant", "content": text},
        "done": True,
        "done_reason": reason,
        "prompt_eval_count": usage["prompt_tokens"],
        "eval_count": usage["completion_tokens"],
    }


def _bedrock(completion: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    text, usage, reason = _facts(completion)
    reasons = {"stop": "end_turn", "length": "max_tokens", "content_filter": "content_filtered"}
    return {
        "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
        "stopReason": reasons[reason],
        "usage": {
            "inputTokens": usage["prompt_tokens"],
            "outputTokens": usage["completion_tokens"],
            "totalTokens": usage["total_tokens"],
        },
        "metrics": {"latencyMs": 1},
    }


def _facts(completion: dict[str, Any]) -> tuple[str, dict[str, Any], str]:
    (choice,) = completion["choices"]
    return choice["message"]["content"] or "", completion["usage"], choice["finish_reason"]


_PROTOCOLS = {
    "/v1/messages": (
        _anthropic,
        lambda error: {
            "type": "error",
            "error": {"type": "invalid_request_error", "message": error["message"]},
        },
    ),
    ":generateContent": (
        _gemini,
        lambda error: {
            "error": {"code": 400, "message": error["message"], "status": "INVALID_ARGUMENT"}
        },
    ),
    "/api/chat": (_ollama, lambda error: {"error": error["message"]}),
    "/converse": (_bedrock, lambda error: {"message": error["message"]}),
}
