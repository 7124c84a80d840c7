"""Price calls at prices read once; the cost that LiteLLM reports is never used."""

from difflib import get_close_matches
from enum import StrEnum
from typing import Any, NamedTuple

from tasks.lib.core.errors import ParamError
from tasks.lib.core.params import PARAMS_FILE
from tasks.lib.gateway.deployment_settings import Deployment
from tasks.lib.gateway.request import Messages

MESSAGE_TOKENS = 32
"""More than a chat template adds to a message; ChatML adds 20 if each character is a token."""


N_SIMILAR = 3
FLEX = "flex"
HALF_PRICE = ("openai", "azure")
"""Providers whose documentation says that batches cost half."""


class Tier(StrEnum):
    """How a call is processed, which decides its price."""

    OWN = "own"
    """As the route says in service_tier."""
    STANDARD = "standard"
    BATCHES = "batches"


class Price(NamedTuple):
    """US dollars per token.

    `reasoning_usd` is the price of a completion token for thinking, and `cached_usd` of a prompt
    token that the provider found in its cache; None if it costs the same as the others.
    """

    prompt_usd: float
    completion_usd: float
    reasoning_usd: float | None = None
    cached_usd: float | None = None

    def cost_usd(
        self,
        prompt_tokens: int,
        completion_tokens: int,
        reasoning_tokens: int = 0,
        cached_tokens: int = 0,
    ) -> float:
        """Return the price of a call; the first two counts include thinking and cached tokens."""
        usd = prompt_tokens * self.prompt_usd + completion_tokens * self.completion_usd
        if self.reasoning_usd is not None:
            usd += reasoning_tokens * (self.reasoning_usd - self.completion_usd)
        if self.cached_usd is not None:
            usd += cached_tokens * (self.cached_usd - self.prompt_usd)
        return usd

    def most_usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the highest price of a call with up to these tokens."""
        dearest = max(self.completion_usd, self.reasoning_usd or 0.0)
        return prompt_tokens * self.prompt_usd + completion_tokens * dearest

    def half(self) -> "Price":
        """Return half of these prices."""
        reasoning_usd, cached_usd = (usd and usd / 2 for usd in self[2:])
        return Price(self.prompt_usd / 2, self.completion_usd / 2, reasoning_usd, cached_usd)


FREE = Price(0.0, 0.0)
USUAL_TIERS = (None, "auto", "default", "standard", "standard_only", "on_demand")


def price_of(deployment: Deployment, litellm: Any, tier: Tier = Tier.OWN) -> Price | None:
    """Return the prices from params.yaml, otherwise from LiteLLM's price map; None if unknown.

    Prices in params.yaml are those of the route's own tier. A 0 in LiteLLM's map does not count,
    since many models that do cost money are listed at 0. A batch without a price in the map costs
    half where the provider's documentation says so, and otherwise as much as single calls.
    """
    prompt_usd, completion_usd = deployment.input_cost_per_token, deployment.output_cost_per_token
    is_given = prompt_usd is not None and completion_usd is not None
    if deployment.is_free and not is_given:
        return FREE
    is_usual = deployment.service_tier in USUAL_TIERS
    if is_given and (is_usual or tier is not Tier.STANDARD):
        price: Price | None = Price(prompt_usd or 0.0, completion_usd or 0.0)
    elif is_usual or tier is not Tier.OWN:
        found = _in_map(deployment, litellm, f"_{tier}") if tier is Tier.BATCHES else None
        if found:
            return found
        price = _in_map(deployment, litellm, "")
    else:
        price = _in_map(deployment, litellm, f"_{deployment.service_tier}")
    is_half = tier is Tier.BATCHES and deployment.provider in HALF_PRICE
    return price.half() if price and is_half and (is_usual or not is_given) else price


def served_price(deployment: Deployment, litellm: Any, tier: str) -> Price | None:
    """Return the price of a tier that a reply names, or None if it is unknown.

    Prices in params.yaml are those of the route's own tier.
    """
    served: dict[str, Any] = {"service_tier": tier}
    served |= {"input_cost_per_token": None, "output_cost_per_token": None}
    return price_of(deployment.model_copy(update=served), litellm)


def _in_map(deployment: Deployment, litellm: Any, tier: str) -> Price | None:
    """Return the prices in LiteLLM's map whose names end with `tier`, or None."""
    if deployment.provider.startswith("ollama"):  # LiteLLM would query Ollama's server
        return None
    try:
        info = litellm.get_model_info(deployment.model)
    except Exception:  # raised as a bare Exception for a model that LiteLLM does not know
        return None
    prompt_usd = info.get(f"input_cost_per_token{tier}")
    completion_usd = info.get(f"output_cost_per_token{tier}")
    if not prompt_usd or not completion_usd:
        return None
    return Price(
        prompt_usd,
        completion_usd,
        None if tier else info.get("output_cost_per_reasoning_token") or None,
        info.get(f"cache_read_input_token_cost{tier}") or None,
    )


def require_price(deployment: Deployment, litellm: Any, where: str, tier: Tier = Tier.OWN) -> Price:
    """Return the prices per token.

    Raises:
        ParamError: The prices are unknown.
    """
    price = price_of(deployment, litellm, tier)
    if price is not None:
        return price
    own = deployment.service_tier
    if own not in USUAL_TIERS and price_of(deployment, litellm, Tier.STANDARD):
        raise ParamError(
            f"LiteLLM's price map has a price for this model, but none for its tier {own}: the "
            "model probably has no such tier",
            where=f"{PARAMS_FILE}: {where}",
            fix="Remove service_tier. If the model does have the tier, add its "
            "input_cost_per_token and output_cost_per_token, in US dollars per token.",
        )
    known = "; or ".join(similar_models(deployment, litellm))
    raise ParamError(
        "the price of this model is unknown, so spending on it cannot be capped"
        f"{f'; did you mean {known}?' if known else ''}",
        where=f"{PARAMS_FILE}: {where}",
        fix="Add input_cost_per_token and output_cost_per_token to it, in US dollars per "
        "token; set both to 0 for your own endpoint if it costs nothing.",
    )


def similar_models(deployment: Deployment, litellm: Any) -> list[str]:
    """Return the provider's models with the closest names in LiteLLM's map, with their prices."""
    if deployment.api_base:
        return []
    provider = deployment.provider
    known = [
        key.removeprefix(f"{provider}/")
        for key, entry in litellm.model_cost.items()
        if entry.get("mode") == "chat" and str(entry.get("litellm_provider")).startswith(provider)
    ]
    similar = []
    for name in get_close_matches(deployment.model.partition("/")[2], known, N_SIMILAR):
        model = f"{provider}/{name}"
        price = _in_map(deployment.model_copy(update={"model": model}), litellm, "")
        if price:
            usd = f"{1e6 * price.prompt_usd:.3g} and {1e6 * price.completion_usd:.3g}"
            similar.append(f"{model} ({usd} USD for a million tokens in and out)")
    return similar


def max_prompt_tokens(messages: Messages, schema_bytes: int = 0) -> int:
    """Return an upper bound on the tokens of the messages: each token is a byte or more."""
    n_bytes = sum(len(message["content"].encode()) for message in messages)
    return n_bytes + MESSAGE_TOKENS * len(messages) + schema_bytes
