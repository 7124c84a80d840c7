"""How much a model thinks: the least effort that it accepts, and the room that thinking needs.

Thinking counts as output. If it uses up the room for the answer, the reply is empty but not free.
"""

from typing import Any, NamedTuple

from tasks.lib.gateway.deployment_settings import Deployment, Effort

ROOM = {
    Effort.NONE: 0,
    Effort.MINIMAL: 1024,
    Effort.LOW: 4096,
    Effort.MEDIUM: 8192,
    Effort.HIGH: 16384,
    Effort.XHIGH: 32768,
    Effort.MAX: 32768,
}
"""Tokens of room for thinking, by effort: more than models usually need to rank 14 texts."""
MORE_ROOM = 4  # times as much after a reply that was cut off
LEAST_MORE_ROOM = 8192

STARTED_BY_EFFORT = ("claude", "magistral")
"""Models that think only if an effort is sent, whatever the effort."""


class Thinking(NamedTuple):
    """What a model does with an effort, according to LiteLLM's map."""

    efforts: tuple[Effort, ...] = ()
    """The efforts worth sending, the least first; a refused one is followed by the next."""
    is_certain: bool = True
    """Whether the map lists the efforts; otherwise a model may think in spite of `none`."""
    room_without: int = 0
    """The room that the model needs if no effort is sent."""

    def room(self, effort: Effort | None) -> int:
        """Return the tokens of room for thinking with this effort."""
        if effort is None:
            return self.room_without
        is_off = effort is Effort.NONE and not self.is_certain
        return ROOM[Effort.MINIMAL if is_off else effort]


NO_THINKING = Thinking()


def thinking_of(deployment: Deployment, litellm: Any) -> Thinking:
    """Return the efforts that a model accepts; none for a model that LiteLLM does not know."""
    if deployment.is_offline or deployment.is_local:
        return NO_THINKING
    model = deployment.model
    is_accepted = "reasoning_effort" in (litellm.get_supported_openai_params(model=model) or ())
    if deployment.provider.startswith("ollama"):  # LiteLLM's map would query Ollama's server
        return Thinking((Effort.NONE, Effort.LOW), is_certain=False) if is_accepted else NO_THINKING
    try:
        info = litellm.get_model_info(model)
    except Exception:  # raised as a bare Exception for a model that LiteLLM does not know
        return NO_THINKING
    thinking = _by_entry(model.lower(), info)
    return thinking if is_accepted else thinking._replace(efforts=())


def _by_entry(model: str, info: Any) -> Thinking:
    """Return what LiteLLM's entry for a model says."""
    by_itself = ROOM[Effort.MEDIUM]
    if info.get("thinking_always_on"):
        return Thinking((Effort.LOW,), room_without=by_itself)
    if any(name in model for name in STARTED_BY_EFFORT):
        return Thinking(room_without=by_itself if "magistral" in model else 0)
    known = _listed_efforts(info)
    if known is None:
        guesses = (Effort.NONE, Effort.MINIMAL, Effort.LOW)
        return Thinking(guesses, is_certain=False, room_without=by_itself)
    efforts = tuple(effort for effort in Effort if effort in known)
    return Thinking(efforts, room_without=by_itself if efforts else 0)


def _listed_efforts(info: Any) -> tuple[str, ...] | None:
    """Return the efforts in LiteLLM's entry for a model: empty for one that does not think.

    None if the model thinks and the entry does not say how much.
    """
    from litellm.router_utils.reasoning_effort_capability import (  # noqa: PLC0415  # litellm: 3 s
        resolve_supported_reasoning_efforts,
    )

    efforts: tuple[str, ...] | None = resolve_supported_reasoning_efforts(
        info, deployment_is_mapped=True
    )
    return efforts


def thinking_room(deployment: Deployment, thinking: Thinking, effort: Effort | None) -> int:
    """Return the room for thinking that the route sets, otherwise the one that the effort needs."""
    own = deployment.thinking_tokens
    return thinking.room(effort) if own is None else own


def max_completion_tokens(deployment: Deployment, max_answer_tokens: int, litellm: Any) -> int:
    """Return the maximum tokens of a reply: the room for the answer plus the room for thinking.

    This bounds the cost of a call until a reply is cut off; the estimate and the cap use it.

    Args:
        deployment: The model, and the room that its route sets.
        max_answer_tokens: The step's room for an answer.
        litellm: The loaded module.
    """
    if deployment.logprobs:
        return 1
    answer = deployment.max_answer_tokens or max_answer_tokens
    thinking = thinking_of(deployment, litellm)
    effort = deployment.reasoning_effort or next(iter(thinking.efforts), None)
    return answer + thinking_room(deployment, thinking, effort)
