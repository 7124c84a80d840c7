"""Behaviours of a fake provider, each of which turns a call into a response.

`FAULTS` is the table of possible faults, by name; `faulty` draws from it.
"""

import json
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from string import ascii_uppercase
from typing import Any, NamedTuple

from tests.exchange import BYTES_PER_TOKEN, Call, Response
from tests.protocols import limit_of

SERVED_MODEL = "fake-2025-01-01"
HANG_S = 60.0  # longer than any test waits
Behaviour = Callable[[Call], Response]


def says(
    text: str | None,
    finish_reason: str = "stop",
    *,
    usage: bool = True,
    n_thoughts: int = 0,
    n_cached: int = 0,
    message: dict[str, Any] | None = None,
    choice: dict[str, Any] | None = None,
    **extra: Any,
) -> Behaviour:
    """Answer with a chat completion that has this text.

    Args:
        text: The content.
        finish_reason: Why the reply ends.
        usage: Whether the usage is reported.
        n_thoughts: Tokens of thinking, which are part of the completion tokens.
        n_cached: Prompt tokens from the cache.
        message: More fields of the message.
        choice: More fields of the choice.
        extra: More fields of the completion.
    """

    def behave(call: Call) -> Response:
        n_out = -(-len((text or "").encode(errors="replace")) // BYTES_PER_TOKEN) + n_thoughts
        said = {"role": "assistant", "content": text} | (message or {})
        body = {
            "id": f"chatcmpl-{call.n}",
            "object": "chat.completion",
            "created": 1,
            "model": SERVED_MODEL,
            "service_tier": "on_demand",  # LiteLLM needs it from groq
            "choices": [
                {"index": 0, "finish_reason": finish_reason, "message": said} | (choice or {})
            ],
        }
        if usage:
            body["usage"] = {
                "prompt_tokens": call.prompt_tokens,
                "completion_tokens": n_out,
                "total_tokens": call.prompt_tokens + n_out,
                "completion_tokens_details": {"reasoning_tokens": n_thoughts},
                "prompt_tokens_details": {"cached_tokens": n_cached},
            }
        return Response(body=json.dumps(body | extra).encode(), tokens=(call.prompt_tokens, n_out))

    return behave


def picks(*slots: Any) -> Behaviour:
    """Pick these slots, in the required form."""
    return says(json.dumps({"picks": slots}))


def writes_letter(
    bias: Sequence[float] = (), *, n_top: int = 20, others: Sequence[str] = ("The", "A river")
) -> Behaviour:
    """Answer with a letter and log-probabilities, which are higher early in the alphabet.

    Args:
        bias: What is added to the log-probability of each slot from the first.
        n_top: The most tokens that are reported.
        others: Likely tokens that are no letters.
    """

    def behave(call: Call) -> Response:
        texts = call.block.texts
        rank = {text: i for i, text in enumerate(sorted(texts))}
        logprobs = {
            f" {ascii_uppercase[i]}": -1.0 - rank[text] + sum(bias[i : i + 1])
            for i, text in enumerate(texts)
        }
        letter = max(logprobs, key=lambda token: logprobs[token])
        tokens = [{"token": t, "logprob": v} for t, v in logprobs.items()]
        tokens += [{"token": token, "logprob": -0.5} for token in others]
        tokens.sort(key=lambda token: -token["logprob"])
        content = [tokens[0] | {"top_logprobs": tokens[: min(n_top, call.body["top_logprobs"])]}]
        return says(letter, "length", choice={"logprobs": {"content": content}})(call)

    return behave


def rates(score: float) -> Behaviour:
    """Give this rating, in the required form."""
    return says(json.dumps({"score": score}))


def honest(call: Call) -> Response:
    """Pick the texts that come first in the alphabet, whatever their slots."""
    texts, n_picks = call.block
    order = sorted(range(len(texts)), key=lambda i: texts[i])
    return picks(*(i + 1 for i in order[:n_picks]))(call)


def fails(
    status: int,
    message: str = "something is wrong",
    code: str | None = None,
    retry_after: float | str | None = None,
    param: str | None = None,
) -> Behaviour:
    """Fail with an error in OpenAI's form."""
    error = {"message": message, "type": "error", "code": code, "param": param}
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return lambda call: Response(status, json.dumps({"error": error}).encode(), headers)


def thinks(n_tokens: int, then: Behaviour = honest) -> Behaviour:
    """Think before behaving like `then`; a reply without room for both is empty, but billed."""

    def behave(call: Call) -> Response:
        text = json.loads(then(call).body)["choices"][0]["message"]["content"]
        n_answer = -(-len(text) // BYTES_PER_TOKEN)
        limit = limit_of(call.path, call.body)
        if n_tokens + n_answer > limit:
            return says("", "length", n_thoughts=limit)(call)
        return says(text, n_thoughts=n_tokens)(call)

    return behave


def garbled(body: bytes) -> Behaviour:
    """Answer with status 200 and a body that is not a chat completion."""
    return lambda call: Response(body=body)


def resets(after: int = 0) -> Behaviour:
    """Break the connection after this many bytes of an honest answer."""
    return lambda call: replace(honest(call), reset_after=after)


def late(delay_s: float, then: Behaviour = honest) -> Behaviour:
    """Behave like `then`, but only after a delay."""
    return lambda call: replace(then(call), delay_s=delay_s)


def trickles(pause_s: float) -> Behaviour:
    """Send an honest answer byte by byte."""
    return lambda call: replace(honest(call), trickle_s=pause_s)


def _cut(call: Call) -> Response:
    response = honest(call)
    return replace(response, body=response.body[: len(response.body) // 2])


def _unmetered(call: Call) -> Response:
    text = json.loads(honest(call).body)["choices"][0]["message"]["content"]
    return says(text, usage=False)(call)


class Fault(NamedTuple):
    """A kind of failure."""

    behave: Behaviour
    is_reported: bool  # whether the client learns the cost: nothing, or a whole reply with usage


TOO_LONG = "This model's maximum context length is 100 tokens. Please reduce the length."
FILTERED = "The response was filtered due to the content management policy."
FAULTS = {
    "429": Fault(fails(429, "Rate limit reached"), True),
    "429 with Retry-After": Fault(fails(429, "Rate limit reached", retry_after=0.02), True),
    "500": Fault(fails(500), True),
    "502": Fault(fails(502), False),
    "503": Fault(fails(503, "overloaded"), True),
    "504": Fault(fails(504), False),
    "time-out": Fault(late(HANG_S), False),
    "reset before the reply": Fault(resets(), False),
    "reset amid the body": Fault(resets(40), False),
    "body cut short": Fault(_cut, False),
    "garbled body": Fault(garbled(b"<html>gateway</html>"), False),
    "no choices": Fault(says("[1]", choices=[]), True),
    "no usage": Fault(_unmetered, False),
    "no content": Fault(says(None), True),
    "prose": Fault(says("I could not decide between them."), True),
    "slot out of range": Fault(picks(99), True),
    "a slot twice": Fault(lambda call: picks(*[1] * (call.block.n_picks + 1))(call), True),
    "no picks": Fault(picks(), True),
    "filtered reply": Fault(says("", "content_filter"), True),
    "refusal": Fault(says(None, message={"refusal": "I cannot help with that."}), True),
    "cut off": Fault(thinks(10**6), True),
    "error in a choice": Fault(says("", "error", choice={"error": {"code": 502}}), True),
    "limit in a choice": Fault(
        says("[1]", "error", choice={"error": {"code": 429, "message": "slow down"}}), True
    ),
    "filtered question": Fault(fails(400, FILTERED, "content_policy_violation"), True),
    "too long": Fault(fails(400, TOO_LONG, "context_length_exceeded"), True),
}


def fault(name: str) -> Behaviour:
    """Fail in the way that `FAULTS` defines under this name."""
    return lambda call: replace(FAULTS[name].behave(call), fault=name)


def faulty(names: Collection[str], *, rate: float, seed: int) -> Behaviour:
    """Answer each call with a random fault at the given rate, otherwise honestly."""

    def behave(call: Call) -> Response:
        rng = random.Random(f"{seed}/{call.n}")
        is_hit = rng.random() < rate
        return (fault(rng.choice(sorted(names))) if is_hit else honest)(call)

    return behave
