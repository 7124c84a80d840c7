"""Have a model rate responses, one at a time."""

from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.baseline.parse_rating import PER_POINT, read_rating
from tasks.baseline.rating_prompt import (
    REASK_WORDS,
    SCHEMA,
    former_question,
    former_question_words,
    question_words,
    rating_question,
)
from tasks.lib.gateway.gateway import Gateway
from tasks.lib.gateway.journal_lookup import WithoutAnswer
from tasks.lib.gateway.request import CallSettings, NoAnswer, Request, make_request
from tasks.lib.gateway.routes import Route
from tasks.lib.gateway.task_pool import WAITING_PER_CALL, TaskPool
from tasks.lib.journal.models import Answer, FailedCall, SelectionName, answer_key
from tasks.lib.journal.reader import JournalReader

USD_DIGITS = 9
COST = ("prompt_tokens", "completion_tokens", "usd")


class RatedItem(NamedTuple):
    """A response to rate, and the request that it answers."""

    request: str
    response: str


class Ratings(NamedTuple):
    """The ratings of items.

    Attributes:
        scores: float64, shape (n,), 0 to 5 in steps of 0.5; NaN for an item without an answer.
        n_final: Number of items with a final result (a rating or a refusal); fewer than n if the
            cap was reached.
        cost: Calls (the number of answers), prompt_tokens, completion_tokens and usd. Tokens and
            prices count every reply that was paid for, including those without a rating.
        silent: The calls without a reply, which may have been charged in addition.
    """

    scores: NDArray[np.float64]
    n_final: int
    cost: dict[str, Any]
    silent: list[FailedCall]


class Rater:
    """Rates items with one route, in one event loop; calls `advance` for each result."""

    def __init__(
        self,
        gateway: Gateway,
        journal: JournalReader,
        route: Route,
        settings: CallSettings,
        advance: Callable[[], None],
    ) -> None:
        self._gateway, self._route, self._settings = gateway, route, settings
        self._journal = journal
        limit = WAITING_PER_CALL * settings.concurrency
        self._pool = TaskPool(self._rate, limit=limit, advance=advance, stopping=gateway.stopping)

    async def __call__(self, items: Sequence[RatedItem]) -> Ratings:
        """Return the ratings of items, in order.

        Raises:
            LLMError: The provider refuses, or cannot be reached; answers so far are kept.
            ParamError: The route's provider or price is unknown, or its key is not set.
        """
        results = await self._pool.answers(items)
        scores = np.full(len(items), np.nan)
        answers: list[Answer] = []
        for i, result in enumerate(results):
            if isinstance(result, Answer):
                scores[i] = result.parsed[0] / PER_POINT
                answers.append(result)
        keys = {self._request(item).key for item in items[: len(results)]}
        others = WithoutAnswer.of(self._journal, keys)
        paid = [*answers, *(call.cost for call in others.replies)]
        cost = {name: sum(getattr(reply, name) for reply in paid) for name in COST}
        cost |= {"calls": len(answers), "usd": round(cost["usd"], USD_DIGITS)}
        return Ratings(scores, len(results) - results.count(None), cost, others.silent)

    async def _rate(self, item: RatedItem) -> Answer | NoAnswer:
        return await self._gateway.ask(self._request(item))

    def _request(self, item: RatedItem) -> Request:
        return make_request(
            self._route,
            self._settings,
            rating_question(*item),
            SCHEMA,
            read=read_rating,
            reask_words=REASK_WORDS,
            former_facts=partial(_former_facts, item),
        )


def _former_facts(item: RatedItem) -> dict[str, Any]:
    return {"messages": former_question(*item)}


def rating_name(route: Route, settings: CallSettings, *files: Path) -> SelectionName:
    """Return the name shared by all runs in which a model rates the same records.

    These runs also share one cap, which is separate from a selection's cap.
    """
    facts = {
        "records": [sha256(file.read_bytes()).hexdigest() for file in files],
        "model": route.model,
        "temperature": route.temperature,
        "schema": route.schema_use,
        "seed": settings.seed,
        "max_tokens": settings.max_answer_tokens,
    }
    return SelectionName(
        answer_key(rating=question_words(), **facts, **route.own_settings),
        answer_key(rating=former_question_words(), **facts),
    )
