"""Price calls at prices read once; the cost that LiteLLM reports is never used."""

from enum import StrEnum
from typing import Any, NamedTuple

from tasks.lib.core.errors import ParamError
from tasks.lib.core.params import PARAMS_FILE
from tasks.lib.gateway.deployment import Deployment
from tasks.lib.gateway.request import Messages

MESSAGE_TOKENS = 32
"""More than a chat template adds to a message; ChatML adds 20 if each character is a token."""


HALF_PRICE = ("openai", "azure")
"""Providers whose documentation says that batches and the flex tier cost half."""


class Tier(StrEnum):
    """How a provider processes a call; the value ends the names of its prices in LiteLLM's map."""

    STANDARD = ""
    FLEX = "_flex"
    BATCH = "_batches"


class Price(NamedTuple):
    """US dollars per token."""

    prompt_usd: float
    completion_usd: float

    def cost_usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the price of a call."""
        return prompt_tokens * self.prompt_usd + completion_tokens * self.completion_usd

    def times(self, factor: float) -> "Price":
        """Return the prices multiplied by a factor."""
        return Price(self.prompt_usd * factor, self.completion_usd * factor)


FREE = Price(0.0, 0.0)


def price_of(deployment: Deployment, litellm: Any, tier: Tier = Tier.STANDARD) -> Price | None:
    """Return the prices from params.yaml, otherwise from LiteLLM's price map; None if unknown.

    A 0 in LiteLLM's map does not count, since many models that do cost money have a 0 there. A
    batch whose price is unknown costs the same as other calls, or half at some providers.
    """
    prompt_usd, completion_usd = deployment.input_cost_per_token, deployment.output_cost_per_token
    is_half = tier is not Tier.STANDARD and deployment.provider in HALF_PRICE
    if prompt_usd is not None and completion_usd is not None:
        return Price(prompt_usd, completion_usd).times(0.5 if is_half else 1.0)
    if deployment.is_free:
        return FREE
    if deployment.provider.startswith("ollama"):  # LiteLLM would query Ollama's server
        return None
    try:
        info = litellm.get_model_info(deployment.model)
    except Exception:  # raised as a bare Exception for a model that LiteLLM does not know
        return None
    prices = [
        Price(*(info.get(f"{kind}_cost_per_token{end}") or 0 for kind in ("input", "output")))
        for end in (tier, Tier.STANDARD)
    ]
    if all(prices[0]) or tier is Tier.FLEX:  # a model without a price for flex has no flex tier
        return prices[0] if all(prices[0]) else None
    return prices[1].times(0.5 if is_half else 1.0) if all(prices[1]) else None


def require_price(
    deployment: Deployment, litellm: Any, where: str, tier: Tier = Tier.STANDARD
) -> Price:
    """Return the prices per token.

    Raises:
        ParamError: They are unknown.
    """
    price = price_of(deployment, litellm, tier)
    if price is None:
        raise ParamError(
            "the price of this model is unknown, so its spending could not be capped",
            where=f"{PARAMS_FILE}: {where}",
            fix="Add input_cost_per_token and output_cost_per_token to it, in US dollars per "
            "token; set both to 0 for an endpoint of your own that costs nothing.",
        )
    return price


def max_prompt_tokens(messages: Messages, schema_bytes: int = 0) -> int:
    """Return an upper bound on the tokens of the messages: each token has a byte or more."""
    n_bytes = sum(len(message["content"].encode()) for message in messages)
    return n_bytes + MESSAGE_TOKENS * len(messages) + schema_bytes
