"""What a call costs, from prices read once; never from what LiteLLM says of a response."""

from typing import NamedTuple

from tasks.llm.routes import Deployment


class Price(NamedTuple):
    """US dollars for one token."""

    prompt_usd: float
    completion_usd: float

    def cost_usd(self, prompt_tokens: int | None, completion_tokens: int | None) -> float | None:
        """The price of a call, None where its tokens are not known."""
        if prompt_tokens is None or completion_tokens is None:
            return None
        return prompt_tokens * self.prompt_usd + completion_tokens * self.completion_usd


FREE = Price(0.0, 0.0)


def stated_price(deployment: Deployment) -> Price | None:
    """The price that params.yaml gives, or nothing for what runs on this machine and is free."""
    if deployment.is_rubric or (deployment.is_local and deployment.provider.startswith("ollama")):
        return FREE
    prompt_usd, completion_usd = deployment.input_cost_per_token, deployment.output_cost_per_token
    if prompt_usd is None or completion_usd is None:
        return None
    return Price(prompt_usd, completion_usd)
