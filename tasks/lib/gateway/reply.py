"""Read a model's reply and the JSON in it, and name what can be wrong with it."""

import json
import math
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, NamedTuple, Self

from tasks.lib.gateway.reply_limits import is_count

MAX_CHARS = 20_000  # read from the end of a reply; no list of slots is longer
LOGPROB_DIGITS = 6
DEEP = 200
"""Characters to skip where brackets nest too deeply, since each takes as long as the first."""
MAX_NAME = 200  # characters of a model's name and of a finish reason
CUT, FILTERED = "length", "content_filter"
"""LiteLLM's finish reasons for an incomplete reply."""
FAILED = ("error", "ERROR", "network_error")
"""Finish reasons of providers that failed; LiteLLM reports all of them as `stop`."""


class Reply(NamedTuple):
    """A model's reply. A token count is None if the provider did not report it."""

    text: str
    prompt_tokens: int | None
    completion_tokens: int | None  # including thinking
    finish_reason: str
    model: str  # as the provider names it, often with a date
    dropped_params: tuple[str, ...] = ()  # parameters that the model does not accept
    reasoning_tokens: int = 0  # completion tokens used for thinking
    cached_tokens: int = 0  # prompt tokens that the provider found in its cache
    remark: str = ""  # what the provider says about the reply: its own finish reason, a refusal
    is_refused: bool = False  # a provider's filter withheld the answer, or the model refused
    service_tier: str = ""  # the tier that the provider served it in, if it says so
    error: str = ""  # the provider failed while it wrote the reply
    logprobs: str = ""  # a JSON object: the likeliest first tokens, and their log-probabilities


class ReplyProblem(StrEnum):
    """Why a reply cannot be used as an answer."""

    EMPTY = "empty"
    NO_LIST = "no_list"
    NOT_A_SLOT = "not_a_slot"
    OUT_OF_RANGE = "out_of_range"
    REPEATED = "repeated"
    TOO_FEW = "too_few"
    NO_SCORE = "no_score"
    NOT_A_HALF = "not_a_half"
    NO_LETTER = "no_letter"


class UnusableReply(NamedTuple):
    """What is wrong with a reply that cannot be used."""

    problem: ReplyProblem
    detail: str


def read_reply(response: Any, dropped_params: tuple[str, ...]) -> Reply:
    """Return the reply in LiteLLM's response; a missing part becomes empty or None."""
    choice = response.choices[0] if response.choices else None
    message = choice.message if choice else None
    usage = _Usage.of(getattr(response, "usage", None))
    finish_reason = str((choice.finish_reason if choice else None) or "")
    aside = _fields(choice) | _fields(message)
    native = str(aside.get("native_finish_reason") or finish_reason)
    refusal = aside.get("refusal")
    error = aside.get("error") or (native if native in FAILED else "")
    return Reply(
        text=_text(message, is_cut=finish_reason == CUT)[-MAX_CHARS:],
        finish_reason=finish_reason[:MAX_NAME],
        model=_name(response.model),
        dropped_params=dropped_params,
        remark=": ".join(str(part) for part in (native, refusal) if part),
        is_refused=bool(refusal) or finish_reason == FILTERED,
        service_tier=_name(getattr(response, "service_tier", None)),
        error=_words(error),
        logprobs=_first_logprobs(getattr(choice, "logprobs", None)),
        **usage._asdict(),
    )


class _Usage(NamedTuple):
    """The tokens of a call as the provider reports them."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int = 0
    cached_tokens: int = 0

    @classmethod
    def of(cls, usage: Any) -> Self:
        """Return the token counts in LiteLLM's usage; empty if one is missing or impossible."""
        prompt_tokens = getattr(usage, "prompt_tokens", None)
        completion_tokens = getattr(usage, "completion_tokens", None) or 0
        total_tokens = getattr(usage, "total_tokens", None) or 0
        details = getattr(usage, "completion_tokens_details", None)
        reasoning_tokens = getattr(details, "reasoning_tokens", None) or 0
        details = getattr(usage, "prompt_tokens_details", None)
        cached_tokens = getattr(details, "cached_tokens", None) or 0
        numbers = (completion_tokens, total_tokens, reasoning_tokens, cached_tokens)
        if not prompt_tokens or not all(map(is_count, (prompt_tokens, *numbers))):
            return cls()  # every prompt has tokens
        # Some providers count thinking only in the total.
        completion_tokens = max(completion_tokens, total_tokens - prompt_tokens)
        if reasoning_tokens > completion_tokens or cached_tokens > prompt_tokens:
            return cls()
        return cls(prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens)


def _fields(part: Any) -> dict[str, Any]:
    """Return the fields of a choice or message that OpenAI's protocol does not define."""
    fields = getattr(part, "provider_specific_fields", None)
    return fields if isinstance(fields, dict) else {}


def _text(message: Any, *, is_cut: bool) -> str:
    """Return the answer in a message, wherever the provider has put it.

    This is the content. If there is none, it is the arguments of a tool call, or else a JSON
    object in the reasoning, unless the reply was cut off and the object is only a draft.
    """
    content = getattr(message, "content", None)
    text = content if isinstance(content, str) else ""
    calls = getattr(message, "tool_calls", None) or ()
    functions = [getattr(call, "function", None) for call in calls]
    functions.append(getattr(message, "function_call", None))
    arguments = [getattr(function, "arguments", None) for function in functions if function]
    reasoning = getattr(message, "reasoning_content", None)
    if not text.strip() and arguments:
        return next((found for found in arguments if isinstance(found, str)), "")
    if not text.strip() and isinstance(reasoning, str) and not is_cut:
        objects = list(json_values(reasoning[-MAX_CHARS:]))
        return json.dumps(objects[-1]) if objects else ""
    return text


def _first_logprobs(logprobs: Any) -> str:
    """Return the likeliest first tokens with their log-probabilities; empty if there are none."""
    first = next(iter(getattr(logprobs, "content", None) or ()), None)
    found: dict[str, float] = {}
    for token in getattr(first, "top_logprobs", None) or ():
        if isinstance(token.logprob, int | float) and math.isfinite(token.logprob):
            found.setdefault(token.token, round(token.logprob, LOGPROB_DIGITS))
    return json.dumps(found, ensure_ascii=False) if found else ""


def _name(value: Any) -> str:
    return str(value or "")[:MAX_NAME]


def _words(error: Any) -> str:
    """Return an error as one line; for a mapping, its message."""
    if isinstance(error, dict):
        code = error.get("code")
        error = " ".join(str(part) for part in (code, error.get("message")) if part) or "error"
    return str(error)


def without_thoughts(text: str) -> str:
    """Return the rest of the text after a model's reasoning; empty if the reasoning never ended."""
    return text[-MAX_CHARS:].rpartition("</think>")[2].partition("<think>")[0].strip()


def json_values(text: str, opening: str = "{") -> Iterator[Any]:
    """Yield the outermost JSON values in the text that begin with `opening`: objects or lists."""
    decoder = json.JSONDecoder()
    start = text.find(opening)
    while start != -1:
        try:
            value, end = decoder.raw_decode(text, start)
        except RecursionError:
            end = start + DEEP
        except ValueError:
            end = start + 1
        else:
            yield value
        start = text.find(opening, end)
