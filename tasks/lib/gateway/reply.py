"""What comes back from a model, in our words."""

from typing import Any, NamedTuple


class Reply(NamedTuple):
    """The reply of a model. A token count is None if the provider did not report it."""

    text: str
    prompt_tokens: int | None
    completion_tokens: int | None
    finish_reason: str
    model: str  # as the provider names it, often with a date
    dropped_params: tuple[str, ...] = ()  # parameters that the model does not take


def read_reply(response: Any, dropped_params: tuple[str, ...]) -> Reply:
    """Return the reply in a response of LiteLLM; whatever it lacks is empty, or None."""
    choice = response.choices[0] if response.choices else None
    text = choice.message.content if choice else None
    usage = getattr(response, "usage", None)
    return Reply(
        text=text if isinstance(text, str) else "",
        prompt_tokens=getattr(usage, "prompt_tokens", None) or None,  # no prompt has 0
        completion_tokens=getattr(usage, "completion_tokens", None) if usage else None,
        finish_reason=(choice.finish_reason if choice else None) or "",
        model=response.model or "",
        dropped_params=dropped_params,
    )
