"""What a selection would cost at each route, before anything is paid: a price and a time range."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tasks.estimate.tokens_needed import Work, paper_work, work_of
from tasks.lib.core.errors import ParamError
from tasks.lib.gateway.litellm_setup import load_litellm
from tasks.lib.gateway.prices import require_price
from tasks.lib.gateway.routes import Route
from tasks.lib.prompts.plan import Round, Rules, plan_rounds
from tasks.llm_select.candidates import Shown
from tasks.llm_select.cascade import Terms

LATENCY_S = (0.5, 10.0)  # of a call, where the journal knows none of this model
OWN_LATENCY_S = {"offline": (0.001, 0.02), "local": (1.5, 30.0)}

Range = tuple[float, float]


class Cost(NamedTuple):
    """What the work costs at a route."""

    route: str
    model: str
    usd: Range | None  # None where the price is not known
    problem: str  # why, and what to do
    seconds: Range


class Estimate(NamedTuple):
    """The work of a selection, the same in the paper's geometry, and what it costs by route."""

    budget: int
    rounds: list[Round]
    votes: int
    work: Work
    costs: list[Cost]
    paper: Work
    paper_usd: Range | None  # at the first route


def estimate(
    shown: Shown,
    rules: Rules,
    terms: Terms,
    routes: Sequence[Route],
    latencies: Mapping[str, Range],
) -> Estimate:
    """What the selection costs at each route, retries and asking again aside.

    The most is certain to hold for a call: a token is a byte at least, and an answer may be as
    long as it is allowed to be. The fewest is what a tokenizer makes of the texts, less a margin
    for other tokenizers. Nothing is called.

    Args:
        shown: The candidates.
        rules: How many are selected, in which rounds.
        terms: What is asked.
        routes: Whom to ask, the one in use first.
        latencies: Seconds a call took so far, from the quick to the slow, by model.
    """
    plan = plan_rounds(len(shown.rows), len(shown.prompts), rules)
    work = work_of(shown, rules, terms, plan)
    paper = paper_work(shown, rules, terms)
    costs = [
        cost_at(route, work, terms.habits.concurrency, latencies.get(route.model))
        for route in routes
    ]
    at_first = costs[0].usd and _usd(routes[0], paper)
    return Estimate(rules.budget, plan, terms.votes, work, costs, paper, at_first)


def cost_at(route: Route, work: Work, concurrency: int, latency_s: Range | None) -> Cost:
    """What work costs at a route, so many calls at a time.

    Args:
        route: Whom to ask.
        work: What is asked.
        concurrency: Calls at a time.
        latency_s: Seconds that a call takes, from the quick to the slow, where that is known.
    """
    try:
        usd, problem = _usd(route, work), ""
    except ParamError as error:
        usd, problem = None, str(error)
    return Cost(
        route.alias, route.model, usd, problem, _seconds(route, work, concurrency, latency_s)
    )


def _usd(route: Route, work: Work) -> Range:
    """The least and the most that the work costs, over the route's deployments.

    Raises:
        ParamError: The price of one is not known.
    """
    litellm = load_litellm()
    prices = [require_price(each, litellm, route.where) for each in route.deployments]
    bounds = [
        [price.cost_usd(work.prompt_tokens[i], work.completion_tokens[i]) for price in prices]
        for i in (0, 1)
    ]
    return min(bounds[0]), max(bounds[1])


def _seconds(route: Route, work: Work, concurrency: int, latency_s: Range | None) -> Range:
    """From all at their quickest to all at their slowest, and no faster than limits allow."""
    first = route.deployments[0]
    quick_s, slow_s = latency_s or OWN_LATENCY_S.get(first.provider) or LATENCY_S
    at_once = 1 if first.is_embedded else concurrency
    paced_s = max((60.0 * amount / limit for amount, limit in _limits(route, work)), default=0.0)
    return (
        max(work.calls[0] * quick_s / at_once, paced_s),
        max(work.calls[1] * slow_s / at_once, paced_s),
    )


def _limits(route: Route, work: Work) -> Iterator[tuple[int, int]]:
    """The least that is to be done, beside how much of it a minute allows: calls, tokens."""
    n_tokens = work.prompt_tokens[0] + work.completion_tokens[0]
    for name, amount in (("rpm", work.calls[0]), ("tpm", n_tokens)):
        limits = [getattr(each, name) for each in route.deployments]
        if all(limits):
            yield amount, sum(limits)
