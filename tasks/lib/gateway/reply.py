"""What goes out with a question, and what comes back, in LiteLLM's words and in ours."""

from typing import Any, NamedTuple


class Reply(NamedTuple):
    """What a model answered. Token counts are None where the provider did not tell."""

    text: str
    prompt_tokens: int | None
    completion_tokens: int | None
    finish_reason: str
    model: str  # as the provider names it, often with a date
    left_out: tuple[str, ...] = ()  # parameters that the model does not take


def response_format(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of an answer, as a request holds it."""
    named = {"name": "answer", "strict": True, "schema": schema}
    return {"type": "json_schema", "json_schema": named}


def read_reply(response: Any, left_out: tuple[str, ...]) -> Reply:
    """The reply that a response of LiteLLM's holds; what it lacks is empty, or None."""
    choice = response.choices[0] if response.choices else None
    text = choice.message.content if choice else None
    usage = getattr(response, "usage", None)
    return Reply(
        text=text if isinstance(text, str) else "",
        prompt_tokens=getattr(usage, "prompt_tokens", None) or None,  # no prompt has 0
        completion_tokens=getattr(usage, "completion_tokens", None) if usage else None,
        finish_reason=(choice.finish_reason if choice else None) or "",
        model=response.model or "",
        left_out=left_out,
    )
