"""What a selection would cost, before anything is paid: calls, tokens, a price range, a time range.

Every prompt of the first round is rendered and counted. Later rounds, whose winners are not known
yet, are bounded by the longest and the shortest that could win.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import ParamError
from tasks.llm.answer import answer_schema
from tasks.llm.client import load_litellm, response_format
from tasks.llm.fence import shorten
from tasks.llm.panel import Terms
from tasks.llm.prices import most_prompt_tokens, require_price
from tasks.llm.prompt import Messages
from tasks.llm.quota import quotas
from tasks.llm.routes import Route
from tasks.llm.rules import Round, Rules, plan_rounds
from tasks.llm.shown import Shown
from tasks.llm.tokens import fewest_tokens
from tasks.llm.votes import n_useful

PAPER_PROMPTS = 1000  # K, of the paper's experiments
LATENCY_S = (0.5, 10.0)  # of a call, where the journal knows none of this model
OWN_LATENCY_S = {"offline": (0.001, 0.02), "local": (1.5, 30.0)}

Range = tuple[float, float]


class Work(NamedTuple):
    """What is asked, whoever answers: each the least and the most."""

    calls: tuple[int, int]
    prompt_tokens: tuple[int, int]
    completion_tokens: tuple[int, int]


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


class _Sizes(NamedTuple):
    """The first round, counted: one row a prompt, the fewest tokens and the most."""

    prompts: NDArray[np.int64]  # shape (k, 2), of the whole prompt
    lightest: NDArray[np.int64]  # shape (k,), of its lightest candidate
    heaviest: NDArray[np.int64]  # shape (k,), of its heaviest candidate


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
    work = _work(shown, rules, terms, plan)
    paper = _paper(shown, rules, terms)
    costs = [_cost(route, work, terms, latencies.get(route.model)) for route in routes]
    at_first = costs[0].usd and _usd(routes[0], paper)
    return Estimate(rules.budget, plan, terms.votes, work, costs, paper, at_first)


def _work(shown: Shown, rules: Rules, terms: Terms, plan: Sequence[Round]) -> Work:
    """All rounds and votes together."""
    sizes = _first_round(shown, rules, terms, plan)
    n_slots = np.array([len(prompt) for prompt in shown.prompts])
    calls, prompt_tokens, answer_tokens = _votes(n_slots, sizes.prompts, terms)
    for this in plan[1:]:
        n, k = this.n_candidates, this.n_prompts
        frame = _frame(terms, -(-n // k))
        lightest = np.sort(sizes.lightest)[:n].sum() + k * frame[0]
        heaviest = np.sort(sizes.heaviest)[::-1][:n].sum() + k * frame[1]
        tokens = np.tile([[lightest // k, -(-heaviest // k)]], (k, 1))
        more = _votes(np.full(k, -(-n // k)), tokens, terms)
        calls, prompt_tokens, answer_tokens = (
            a + b for a, b in zip((calls, prompt_tokens, answer_tokens), more, strict=True)
        )
    n_extra = rules.n_canaries
    extra = n_extra * np.array([sizes.prompts[:, 0].min(), sizes.prompts[:, 1].max()])
    audit = np.array([n_extra, n_extra * terms.habits.max_answer_tokens])
    return Work(_pair(calls + n_extra), _pair(prompt_tokens + extra), _pair(answer_tokens + audit))


def _votes(
    n_slots: NDArray[np.int64], tokens: NDArray[np.int64], terms: Terms
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Calls, prompt tokens and answer tokens of prompts of these sizes, the fewest and the most."""
    most = np.array([n_useful(int(n), terms.votes) for n in n_slots])
    votes = np.stack([most // 2 + 1, most], axis=1)
    calls = votes.sum(axis=0)
    return calls, (votes * tokens).sum(axis=0), calls * [1, terms.habits.max_answer_tokens]


def _first_round(shown: Shown, rules: Rules, terms: Terms, plan: Sequence[Round]) -> _Sizes:
    """The prompts as they will be sent, counted."""
    sizes = np.array([len(prompt) for prompt in shown.prompts])
    n_picks = quotas(plan[0].n_picks, sizes, rules.seed)
    prompts = np.empty((len(sizes), 2), dtype=np.int64)
    extremes = np.empty((len(sizes), 2), dtype=np.int64)
    for i, candidates in enumerate(shown.prompts):
        texts = [shorten(text, terms.max_candidate_chars) for text in shown.texts(candidates)]
        n_ranks = terms.n_ranks(len(texts), int(n_picks[i]))
        messages = terms.prompt.messages(texts, n_ranks, rationale=terms.rationale)
        prompts[i] = _tokens(terms, messages, len(texts), n_ranks)
        extremes[i] = min(map(fewest_tokens, texts)), max(len(text.encode()) for text in texts)
    return _Sizes(prompts, extremes[:, 0], extremes[:, 1])


def _frame(terms: Terms, n_slots: int) -> tuple[int, int]:
    """The tokens of a prompt of empty texts."""
    return _tokens(terms, terms.prompt.messages([""] * n_slots, 1), n_slots, 1)


def _tokens(terms: Terms, messages: Messages, n_slots: int, n_ranks: int) -> tuple[int, int]:
    """The fewest and the most tokens of a prompt, the schema of its answer included."""
    fewest = sum(fewest_tokens(each["content"]) for each in messages)
    schema = answer_schema(n_slots, n_ranks, rationale=terms.rationale)
    return fewest, most_prompt_tokens(messages, len(json.dumps(response_format(schema))))


def _paper(shown: Shown, rules: Rules, terms: Terms) -> Work:
    """The same pool in the paper's geometry: K = 1000 prompts, or one a pick if that is fewer.

    Each shows ceil(M / K) texts whole; where that is more than there are, the first ones of the
    pool are shown twice. One call a prompt, of its own words, which are about as long as ours.
    """
    n_prompts = min(PAPER_PROMPTS, rules.budget)
    n_slots = -(-len(shown.rows) // n_prompts)
    frame = _frame(terms, n_slots)
    fewest, most = n_prompts * frame[0], n_prompts * frame[1]
    rest = n_prompts * n_slots - len(shown.rows)
    again = np.sort(shown.rows)[:rest]
    for candidates in [*shown.prompts, np.flatnonzero(np.isin(shown.rows, again))]:
        for text in shown.texts(candidates):
            fewest += fewest_tokens(text)
            most += len(text.encode())
    n_answer = n_prompts * terms.habits.max_answer_tokens
    return Work((n_prompts, n_prompts), (fewest, most), (n_prompts, n_answer))


def _cost(route: Route, work: Work, terms: Terms, latency_s: Range | None) -> Cost:
    try:
        usd, problem = _usd(route, work), ""
    except ParamError as error:
        usd, problem = None, str(error)
    return Cost(route.alias, route.model, usd, problem, _seconds(route, work, terms, latency_s))


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


def _seconds(route: Route, work: Work, terms: Terms, latency_s: Range | None) -> Range:
    """From all at their quickest to all at their slowest, and no faster than limits allow."""
    first = route.deployments[0]
    quick_s, slow_s = latency_s or OWN_LATENCY_S.get(first.provider) or LATENCY_S
    at_once = 1 if first.is_embedded else terms.habits.concurrency
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


def _pair(values: NDArray[np.int64]) -> tuple[int, int]:
    return int(values[0]), int(values[1])
