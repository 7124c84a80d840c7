"""Each family of models on the wire: what is sent, refused and dropped, and a whole selection.

The server imitates the provider's protocol, its published refusals, and the model's thinking.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from tasks.llm_select.verdicts import PickMethod
from tests.behaviours import fails, thinks
from tests.exchange import Call
from tests.fake_provider import FakeProvider
from tests.judge_desk import questions
from tests.money_desk import price

Refusal = Callable[[dict[str, Any]], str | None]
ANSWER = 64  # tokens of room for the answer, in `put`


def refuses(is_wrong: Callable[[dict[str, Any]], bool], message: str) -> Refusal:
    return lambda body: message if is_wrong(body) else None


NO_TEMPERATURE = refuses(
    lambda body: "temperature" in body,
    "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) "
    "value is supported.",
)
NO_MAX_TOKENS = refuses(
    lambda body: "max_tokens" in body,
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
    "'max_completion_tokens' instead.",
)
OLD_LIMIT = refuses(
    lambda body: "max_completion_tokens" in body,
    "Unrecognized request argument supplied: max_completion_tokens",
)
DEPRECATED = refuses(
    lambda body: "temperature" in body, "`temperature` is deprecated for this model."
)
THINKS = refuses(
    lambda body: "thinking" in body and body.get("temperature", 1) != 1,
    "`temperature` may only be set to 1 when thinking is enabled. Please consult our docs.",
)
NO_EFFORT = refuses(
    lambda body: body.get("reasoning_effort") == "none",
    "Unsupported value: 'reasoning_effort' does not support 'none' with this model. Supported "
    "values are: 'minimal', 'low', 'medium', and 'high'.",
)
NO_BUDGET = refuses(
    lambda body: budget(body) == 0, "Budget 0 is invalid. This model only works in thinking mode."
)
NO_SEED = refuses(
    lambda body: "seed" in body,
    '[{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"',
)
SMALL = refuses(
    lambda body: body["max_tokens"] > 4096 - 800,
    "'max_tokens' or 'max_completion_tokens' is too large: 8256. This model's maximum context "
    "length is 4096 tokens and your request has 800 input tokens (8256 > 4096 - 800).",
)


def budget(body: dict[str, Any]) -> Any:
    return body["generationConfig"].get("thinkingConfig", {}).get("thinkingBudget")


class Family(NamedTuple):
    """A model, how its provider behaves, and what must be sent in the end."""

    model: str
    sent: dict[str, Any]  # None for what must be absent
    base: str = "/v1"
    refusals: tuple[Refusal, ...] = ()
    n_thoughts: Callable[[dict[str, Any]], int] = lambda body: 0
    keys: Mapping[str, Any] = {}
    n_refused: int = 0  # requests that the provider refuses; LiteLLM refuses others itself
    n_cut: int = 0  # replies that are cut off
    dropped: tuple[str, ...] = ()
    reply: Callable[[dict[str, Any]], dict[str, Any]] = lambda message: message


def at_effort(**n_tokens: int) -> Callable[[dict[str, Any]], int]:
    """Return the thinking tokens by effort; 2000 if the model may think as it likes."""
    return lambda body: n_tokens.get(str(body.get("reasoning_effort")), 2000)


def thinks_unless_off(body: dict[str, Any]) -> int:
    is_off = body.get("chat_template_kwargs") == {"enable_thinking": False}
    return 0 if is_off or body.get("think") is False else 2000


def in_parts(message: dict[str, Any]) -> dict[str, Any]:
    """Return content in Mistral's form: a list with a thinking part and a text part."""
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": '{"picks": [99]}'}]}
    text = {"type": "text", "text": message["content"]}
    return message | {"content": [thought, text]}


def in_reasoning(message: dict[str, Any]) -> dict[str, Any]:
    return message | {"content": None, "reasoning_content": f"So: {message['content']}"}


def as_tool_call(message: dict[str, Any]) -> dict[str, Any]:
    function = {"name": "answer", "arguments": message["content"]}
    call = {"id": "t1", "type": "function", "function": function}
    return message | {"content": None, "tool_calls": [call]}


ROOM = {"minimal": 1024, "low": 4096}
MORE = 8192
FAMILIES = {
    "gpt-5 thinks minimally, without a temperature": Family(
        "openai/gpt-5-mini",
        {
            "reasoning_effort": "minimal",
            "temperature": None,
            "max_tokens": None,
            "max_completion_tokens": ANSWER + ROOM["minimal"],
        },
        refusals=(NO_TEMPERATURE, NO_MAX_TOKENS, NO_EFFORT),
        n_thoughts=at_effort(minimal=200),
        dropped=("temperature",),
    ),
    "gpt-5.1 does not think, and takes a temperature": Family(
        "openai/gpt-5.1",
        {"reasoning_effort": "none", "temperature": 0.0, "max_completion_tokens": ANSWER},
        refusals=(NO_MAX_TOKENS,),
        n_thoughts=at_effort(none=0),
    ),
    "gpt-6 does not think": Family(
        "openai/gpt-6-luna",
        {"reasoning_effort": "none", "max_completion_tokens": ANSWER},
        refusals=(NO_MAX_TOKENS,),
        n_thoughts=at_effort(none=0),
    ),
    "gpt-6.1-sol always thinks": Family(
        "openai/gpt-6.1-sol",
        {"reasoning_effort": "low", "max_completion_tokens": ANSWER + ROOM["low"]},
        refusals=(NO_TEMPERATURE, NO_MAX_TOKENS, NO_EFFORT),
        n_thoughts=at_effort(low=900),
        dropped=("temperature",),
    ),
    "o3-mini refuses the least efforts in turn": Family(
        "openai/o3-mini",
        {"reasoning_effort": "minimal", "max_completion_tokens": ANSWER + ROOM["minimal"]},
        refusals=(NO_EFFORT,),
        n_thoughts=at_effort(minimal=300),
        n_refused=1,
        dropped=("temperature",),
    ),
    "an alias of a thinking model is unknown to LiteLLM": Family(
        "openai/team-model",
        {"max_completion_tokens": MORE + ANSWER, "max_tokens": None, "temperature": None},
        refusals=(NO_MAX_TOKENS, NO_TEMPERATURE),
        n_thoughts=at_effort(),
        n_refused=2,
        n_cut=1,
        dropped=("response_format", "temperature"),
    ),
    "a gateway that knows only the older limit": Family(
        "openai/gpt-5-mini",
        {"max_tokens": ANSWER + ROOM["minimal"], "max_completion_tokens": None},
        refusals=(OLD_LIMIT,),
        n_refused=1,
        dropped=("temperature",),
    ),
    "Claude does not think unless asked": Family(
        "anthropic/claude-haiku-4-5",
        {"thinking": None, "temperature": 0.0, "seed": None, "max_tokens": ANSWER},
        base="",
        dropped=("seed",),
    ),
    "Claude thinks if asked, at temperature 1": Family(
        "anthropic/claude-haiku-4-5",
        {"temperature": None, "max_tokens": ANSWER + ROOM["low"]},
        base="",
        refusals=(THINKS,),
        n_thoughts=lambda body: 800,
        keys={"reasoning_effort": "low"},
        n_refused=1,
        dropped=("seed", "temperature"),
    ),
    "Claude 4.7 and later take no temperature": Family(
        "anthropic/claude-opus-4-7",
        {"thinking": None, "temperature": None, "max_tokens": ANSWER},
        base="",
        refusals=(DEPRECATED,),
        dropped=("seed", "temperature"),
    ),
    "a Claude that LiteLLM does not know refuses a temperature": Family(
        "anthropic/claude-next-1",
        {"temperature": None, "max_tokens": ANSWER},
        base="",
        refusals=(DEPRECATED,),
        n_refused=1,
        dropped=("seed", "temperature"),
    ),
    "Claude 5.5 always thinks": Family(
        "anthropic/claude-opus-5-5",
        {"temperature": None, "max_tokens": ANSWER + ROOM["low"]},
        base="",
        refusals=(DEPRECATED,),
        n_thoughts=lambda body: 1500,
        dropped=("seed", "temperature"),
    ),
    "Gemini 2.5 Flash does not think": Family(
        "gemini/gemini-2.5-flash",
        {"thinkingConfig": {"thinkingBudget": 0, "includeThoughts": False}},
        base="/v1beta",
        n_thoughts=lambda body: 0 if budget(body) == 0 else 2000,
    ),
    "Gemini 2.5 Pro always thinks": Family(
        "gemini/gemini-2.5-pro",
        {"max_output_tokens": ANSWER + ROOM["minimal"]},
        base="/v1beta",
        refusals=(NO_BUDGET,),
        n_thoughts=lambda body: min(budget(body) or 2000, 2000),
        n_refused=1,
    ),
    "Gemini 3 thinks a little": Family(
        "gemini/gemini-3.5-flash",
        {"max_output_tokens": ANSWER + ROOM["minimal"]},
        base="/v1beta",
        n_thoughts=lambda body: 300,
    ),
    "Mistral's content is a list of parts": Family(
        "mistral/mistral-small-latest",
        {"reasoning_effort": "none", "max_tokens": ANSWER},
        refusals=(NO_SEED,),
        reply=in_parts,
        n_thoughts=at_effort(none=0),
        dropped=(),
    ),
    "DeepSeek does not think": Family(
        "deepseek/deepseek-v4-flash",
        {"thinking": {"type": "disabled"}},
        n_thoughts=lambda body: 0 if body.get("thinking") == {"type": "disabled"} else 2000,
    ),
    "Qwen on vLLM must not think": Family(
        "hosted_vllm/Qwen/Qwen3-8B",
        {"chat_template_kwargs": {"enable_thinking": False}, "max_tokens": ANSWER},
        n_thoughts=thinks_unless_off,
        keys={
            "schema": "always",
            "extra_body": {"chat_template_kwargs": {"enable_thinking": False}},
        },
    ),
    "Qwen on vLLM thinks, and answers in its reasoning": Family(
        "hosted_vllm/Qwen/Qwen3-8B",
        {"max_tokens": MORE + ANSWER},
        n_thoughts=thinks_unless_off,
        n_cut=1,
        reply=in_reasoning,
        dropped=("response_format",),
    ),
    "a model on vLLM has less room than a longer reply needs": Family(
        "hosted_vllm/Qwen/Qwen3-8B",
        {"max_tokens": (MORE + ANSWER) // 4},
        refusals=(SMALL,),
        n_thoughts=lambda body: 500,
        keys={"thinking_tokens": 200},
        n_refused=2,
        n_cut=1,
        dropped=("response_format",),
    ),
    "Ollama must not think, and needs a context size": Family(
        "ollama_chat/qwen3:8b",
        {"think": False, "num_ctx": 16384},
        base="",
        n_thoughts=thinks_unless_off,
        keys={"schema": "always", "num_ctx": 16384},
    ),
    "Together answers by a tool call": Family(
        "together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo",
        {"max_tokens": ANSWER},
        reply=as_tool_call,
    ),
    "OpenRouter passes the effort on": Family(
        "openrouter/openai/gpt-5-mini",
        {"reasoning_effort": "minimal"},
        refusals=(NO_EFFORT, NO_TEMPERATURE),
        n_thoughts=at_effort(minimal=100),
        n_refused=2,
        dropped=("response_format", "temperature"),
    ),
}


def plays(family: Family) -> Callable[[Call], Any]:
    """Return the behaviour of a family's provider."""

    def behave(call: Call) -> Any:
        for refusal in family.refusals:
            if message := refusal(call.body):
                return fails(400, message)(call)
        response = thinks(family.n_thoughts(call.body))(call)
        completion = json.loads(response.body)
        (choice,) = completion["choices"]
        if choice["message"]["content"]:
            choice["message"] = family.reply(choice["message"])
        return replace(response, body=json.dumps(completion).encode())

    return behave


@pytest.fixture(scope="module")
def server(warm_client):
    with FakeProvider() as provider:
        yield provider


def flat(body: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a request, wherever the protocol puts them."""
    return {**body, **body.get("options", {}), **body.get("generationConfig", {})}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_of_models_judges_every_prompt_itself(server, put, book, name):
    family = FAMILIES[name]
    server.calls.clear()
    server.book.clear()
    server.behave = plays(family)
    keys = {"schema": "auto", "api_base": server.origin + family.base, **family.keys}
    verdicts = put(server.deployment(model=family.model, **keys), questions(4))
    assert {verdict.methods for verdict in verdicts} == {(PickMethod.LLM,)}
    last = flat(server.calls[-1].body)
    assert {key: last.get(key) for key in family.sent} == family.sent
    n_billed = sum(entry.tokens[1] > 0 for entry in server.book)
    assert n_billed == 4 + family.n_cut
    asked = [call for call in server.calls if not call.path.endswith("/api/show")]
    assert len(asked) - n_billed == family.n_refused
    assert book().count("cut_off") == family.n_cut
    dropped = {answer.dropped_params for verdict in verdicts for answer in verdict.answers}
    assert dropped == {family.dropped}
    assert put.spent_usd == pytest.approx(price(server.billed_tokens))
