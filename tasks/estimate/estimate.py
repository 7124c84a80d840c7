"""Estimate the price and time of a selection on each route, before any money is spent."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tasks.estimate.longest_prompt import Sizes, exact_sizes
from tasks.estimate.tokens_needed import (
    Workload,
    paper_work,
    prompt_tokens,
    work_of,
)
from tasks.lib.batches.api import PROVIDERS
from tasks.lib.core.errors import ParamError
from tasks.lib.gateway.litellm_setup import load_litellm
from tasks.lib.gateway.prices import Tier, require_price
from tasks.lib.gateway.routes import Route
from tasks.lib.gateway.thinking import max_completion_tokens
from tasks.llm_select.setup import Setup

LATENCY_S = (0.5, 10.0)  # of a call to a model for which the journal has none
OWN_LATENCY_S = {"offline": (0.001, 0.02), "local": (1.5, 30.0)}

Range = tuple[float, float]


class Cost(NamedTuple):
    """The price and time of the work on a route."""

    route: str
    model: str
    usd: Range | None  # None if the price is unknown
    problem: str  # why the price is unknown, and what to do
    seconds: Range
    batch_usd: Range | None = None  # with llm_select.batch: true; None if the route has no batches


class Estimate(NamedTuple):
    """The work and cost of a selection by route, and in the paper's geometry."""

    budget: int
    n_records: int
    n_prompts: int
    n_ranked: int  # records that each prompt ranks
    votes: int
    sizes: Sizes  # of the longest prompt
    work: Workload
    costs: list[Cost]
    paper: Workload
    paper_usd: Range | None  # on the first route


def estimate(setup: Setup, routes: Sequence[Route], latencies_s: Mapping[str, Range]) -> Estimate:
    """Return the cost of the selection on each route, excluding retries; make no call.

    The upper bound is certain for each call: a token has at least one byte, and an answer has at
    most its allowed length. The lower bound is a tokenizer's count of the texts, minus a margin
    for other tokenizers.

    Args:
        setup: The prompts, and how they are judged.
        routes: The routes, the one in use first.
        latencies_s: By model, how many seconds quick and slow calls have taken so far.
    """
    prompts = prompt_tokens(setup)
    work, paper = work_of(setup, prompts), paper_work(setup)
    concurrency = setup.settings.calls.concurrency
    costs = [cost_at(route, work, concurrency, latencies_s.get(route.model)) for route in routes]
    return Estimate(
        budget=setup.params.budget[-1],
        n_records=len(setup.candidates.rows),
        n_prompts=len(setup.candidates.prompts),
        n_ranked=setup.n_ranked,
        votes=setup.params.votes,
        sizes=exact_sizes(setup, prompts),
        work=work,
        costs=costs,
        paper=paper,
        paper_usd=costs[0].usd and _usd(routes[0], paper),
    )


def cost_at(route: Route, work: Workload, concurrency: int, latency_s: Range | None) -> Cost:
    """Return the cost of work on a route.

    Args:
        route: The route.
        work: The calls and tokens.
        concurrency: The number of calls at a time.
        latency_s: How many seconds a quick and a slow call take; None if unknown.
    """
    try:
        usd, problem = _usd(route, work), ""
    except ParamError as error:
        usd, problem = None, str(error)
    seconds = _seconds(route, work, concurrency, latency_s)
    has_batches = usd and route.deployments[0].provider in PROVIDERS
    batch_usd = _usd(route, work, Tier.BATCHES) if has_batches else None
    return Cost(route.alias, route.model, usd, problem, seconds, batch_usd)


def _usd(route: Route, work: Workload, tier: Tier = Tier.OWN) -> Range:
    """Return the lowest and the highest price of the work among the route's deployments.

    The highest price includes room for thinking, which depends on the model.

    Raises:
        ParamError: The price of a deployment is unknown.
    """
    litellm = load_litellm()
    answer = work.completion_tokens[1] // max(1, work.calls[1])
    lowest, highest = [], []
    for deployment in route.deployments[:1] if tier is Tier.BATCHES else route.deployments:
        price = require_price(deployment, litellm, route.where, tier)
        most = work.calls[1] * max_completion_tokens(deployment, answer, litellm)
        lowest.append(price.cost_usd(work.prompt_tokens[0], work.completion_tokens[0]))
        highest.append(price.most_usd(work.prompt_tokens[1], most))
    return min(lowest), max(highest)


def _seconds(route: Route, work: Workload, concurrency: int, latency_s: Range | None) -> Range:
    """Return the time if all calls are quick and if all are slow, within the rate limits."""
    first = route.deployments[0]
    quick_s, slow_s = latency_s or OWN_LATENCY_S.get(first.provider) or LATENCY_S
    at_once = 1 if first.is_local else concurrency
    limited_s = max((60.0 * amount / limit for amount, limit in _limits(route, work)), default=0.0)
    return (
        max(work.calls[0] * quick_s / at_once, limited_s),
        max(work.calls[1] * slow_s / at_once, limited_s),
    )


def _limits(route: Route, work: Workload) -> Iterator[tuple[int, int]]:
    """Yield the minimum number of calls and of tokens, each with its limit per minute."""
    n_tokens = work.prompt_tokens[0] + work.completion_tokens[0]
    for name, amount in (("rpm", work.calls[0]), ("tpm", n_tokens)):
        limits = [getattr(deployment, name) for deployment in route.deployments]
        if all(limits):
            yield amount, sum(limits)
