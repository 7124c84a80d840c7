"""A model as the rater of responses: each is asked about once, and kept before it counts."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.baseline.rating_prompt import (
    PER_POINT,
    REASK,
    SCHEMA,
    question_words,
    rating_question,
    read_rating,
)
from tasks.lib.gateway.caller import Caller
from tasks.lib.gateway.endpoint import Habits
from tasks.lib.gateway.ledger import Till
from tasks.lib.gateway.request import Posed
from tasks.lib.gateway.routes import Route
from tasks.lib.gateway.workers import WAITING_PER_CALL, Crowd
from tasks.lib.journal.journal import Journal
from tasks.lib.journal.models import Answer, answer_key

USD_DIGITS = 9


class Item(NamedTuple):
    """What is rated."""

    request: str
    response: str


class Ratings(NamedTuple):
    """What a model says of items.

    Attributes:
        scores: float64, shape (n,), 0 to 5 in halves; NaN for an item without an answer.
        n_asked: Of how many items it is known what the model says, or that it will say nothing;
            less than n where the cap was reached.
        cost: Calls, prompt_tokens, completion_tokens and usd of the answers.
    """

    scores: NDArray[np.float64]
    n_asked: int
    cost: dict[str, Any]


class _Rated(NamedTuple):
    score: float
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0


class Rater:
    """Asks one model about items, within one event loop.

    Args:
        route: Whose model.
        habits: How calls are made.
        journal: Where answers are kept and spending is booked.
        advance: Called for each item that is done with.
    """

    def __init__(
        self, route: Route, habits: Habits, journal: Journal, advance: Callable[[], None]
    ) -> None:
        self._route, self._habits = route, habits
        limit = WAITING_PER_CALL * habits.concurrency
        self._crowd = Crowd(self._rate, limit=limit, advance=advance)
        self._till = Till(journal, self._crowd.stopping)
        self._caller = Caller(route, habits, self._till, is_last=True)

    async def __call__(self, items: Sequence[Item]) -> Ratings:
        """The ratings of items in their order.

        Raises:
            LLMError: The provider refuses, or cannot be reached; answers so far are kept.
            ParamError: The route's provider or price is unknown, or its key is not set.
        """
        told = await self._crowd.answers(items)
        scores = np.full(len(items), np.nan)
        known = [(i, rated) for i, rated in enumerate(told) if rated is not None]
        for i, rated in known:
            scores[i] = rated.score
        used = _Rated._fields[1:]
        cost = {name: sum(getattr(rated, name) for _, rated in known) for name in used}
        return Ratings(scores, len(known), cost | {"usd": round(cost["usd"], USD_DIGITS)})

    async def close(self) -> None:
        """Close the connections, and tell in one line which calls failed."""
        await self._caller.close()
        self._till.tell()

    async def _rate(self, item: Item) -> _Rated:
        """The rating of an item; an answer of the journal needs no key and no network."""
        posed = self._pose(item)
        told = self._caller.recall(posed) or await self._caller.answer(posed)
        if not isinstance(told, Answer):
            return _Rated(np.nan)
        used = told.prompt_tokens, told.completion_tokens, told.usd
        return _Rated(told.picks[0] / PER_POINT, 1, *used)

    def _pose(self, item: Item) -> Posed:
        messages = rating_question(item.request, item.response)
        key = answer_key(
            model=self._route.model,
            messages=messages,
            temperature=self._route.temperature,
            seed=self._habits.seed,
            max_tokens=self._habits.max_answer_tokens,
            schema=self._route.schema_use,
        )
        return Posed(key, messages, SCHEMA, read_rating, REASK)


def rating_name(route: Route, habits: Habits, *files: Path) -> str:
    """The same for all runs that have the same model rate the records of the same files.

    They share one cap, which is not that of a selection.
    """
    return answer_key(
        rating=question_words(),
        records=[sha256(file.read_bytes()).hexdigest() for file in files],
        model=route.model,
        temperature=route.temperature,
        schema=route.schema_use,
        seed=habits.seed,
        max_tokens=habits.max_answer_tokens,
    )
