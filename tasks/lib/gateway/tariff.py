"""The prices of one deployment, by the tier in which a call is requested and served."""

from tasks.lib.core.events import log
from tasks.lib.gateway.deployment_settings import Deployment
from tasks.lib.gateway.litellm_setup import load_litellm
from tasks.lib.gateway.prices import (
    USUAL_TIERS,
    Price,
    Tier,
    price_of,
    require_price,
    served_price,
)
from tasks.lib.gateway.reply import Reply
from tasks.lib.journal.models import CallCost


class Tariff:
    """Prices calls, at prices that are read once.

    A provider may serve a call in a different tier from the requested one, and says so in the
    reply. If that tier costs more, all further calls are reserved at its price.

    Args:
        deployment: The model, its tier and its prices.
        where: The route, for messages.
    """

    def __init__(self, deployment: Deployment, where: str) -> None:
        self._deployment, self._where = deployment, where
        self._asked: dict[Tier, Price] = {}
        self._served: dict[str, Price] = {}  # by the name of a tier other than the route's own

    @property
    def is_loaded(self) -> bool:
        """Whether any price has been read."""
        return bool(self._asked)

    def load(self, tier: Tier) -> None:
        """Read the price of a tier.

        Raises:
            ParamError: The price is unknown.
        """
        if tier not in self._asked:
            self._asked[tier] = require_price(self._deployment, load_litellm(), self._where, tier)

    def most_usd(self, prompt_tokens: int, completion_tokens: int, tier: Tier) -> float:
        """Return the highest price of a call with up to these tokens."""
        prices = [self._asked[tier]]
        if tier is Tier.OWN:
            prices += self._served.values()
        return max(price.most_usd(prompt_tokens, completion_tokens) for price in prices)

    def cost(self, reply: Reply, most: CallCost, tier: Tier) -> CallCost:
        """Return the cost of a call from its reply; if its usage is missing, the most it can be."""
        price = self._asked[tier]
        if tier is Tier.OWN and not self._is_own(reply.service_tier):
            price = self._served_price(reply.service_tier)
        if reply.prompt_tokens is None or reply.completion_tokens is None:
            usd = price.most_usd(most.prompt_tokens, most.completion_tokens)
            return most._replace(usd=max(most.usd, usd))
        tokens = (reply.prompt_tokens, reply.completion_tokens)
        details = (reply.reasoning_tokens, reply.cached_tokens)
        return CallCost(*tokens, price.cost_usd(*tokens, *details), False, *details)

    def _is_own(self, name: str) -> bool:
        """Return whether a reply was served in the route's tier, or does not say."""
        own = self._deployment.service_tier
        return not name or name == own or (name in USUAL_TIERS and own in USUAL_TIERS)

    def _served_price(self, name: str) -> Price:
        """Return the price of a tier that was not requested; if unknown, the higher known price."""
        litellm = load_litellm()
        price = served_price(self._deployment, litellm, name) if name.isidentifier() else None
        name = name if price else "(unknown)"
        if name not in self._served:
            known = [self._asked[Tier.OWN], price_of(self._deployment, litellm, Tier.STANDARD)]
            self._served[name] = price or max(filter(None, known), key=lambda known: known[:2])
            log.warning(
                "%s was served in a tier that was not requested; such calls count at %s",
                self._where,
                f"the price of {name}" if price else "the highest known price",
            )
        return self._served[name]
