"""Questions to a judge, and its verdicts."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tasks.lib.journal.models import Answer
from tasks.llm_select.attention_checks import Insertion
from tasks.llm_select.letters import Preferences
from tasks.llm_select.votes import Ranking

Members = NDArray[np.intp]
"""intp, shape (n,): the candidates of one prompt by index, in the order of their slots."""


class PickMethod(StrEnum):
    """What ranked a record: a model, or the offline judge."""

    LLM = "llm"
    OFFLINE = "offline"
    """The offline judge, because the route is offline."""
    FALLBACK = "fallback"
    """The offline judge, because the model gave no answer."""


class Question(NamedTuple):
    """A prompt for the judge."""

    prompt: int  # from 1
    candidates: Members
    n_ranked: int  # the least number of slots that the verdict ranks
    attention_check: Insertion | None = None  # then the verdict scores no record


class UsedAnswer(NamedTuple):
    """An answer behind a verdict, excluding its text."""

    key: str
    digest: str
    route: str  # the route's current alias
    model: str  # as the provider names it
    prompt_tokens: int
    completion_tokens: int
    usd: float
    is_upper_bound: bool
    dropped_params: tuple[str, ...]
    reasoning_tokens: int
    cached_tokens: int

    @classmethod
    def of(cls, answer: Answer, alias: str) -> Self:
        """Return the facts about a journal answer, perhaps bought under another alias."""
        return cls(
            key=answer.key,
            digest=answer.digest,
            route=alias,
            model=answer.model,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            usd=answer.usd,
            is_upper_bound=answer.is_upper_bound,
            dropped_params=answer.dropped_params,
            reasoning_tokens=answer.reasoning_tokens,
            cached_tokens=answer.cached_tokens,
        )


class Ballot(NamedTuple):
    """One vote on a prompt."""

    n_candidates: int
    shown: Ranking  # the ranked slots as this vote numbered them
    ranking: Ranking  # the same in the prompt's own numbers
    is_whole: bool  # all candidates were shown together
    preferences: Preferences = ()  # by letter as this vote numbered them, if the route has logprobs
    order: tuple[int, ...] = ()  # then the candidate under each letter, by index


class Verdict(NamedTuple):
    """The ranked slots of one prompt, and the ballots and answers behind them."""

    slots: Ranking  # named by a ballot, or added by the offline judge where ballots are missing
    scores: Sequence[float]  # the judge score of every slot
    method: PickMethod
    reasons: Mapping[int, str]  # by slot, if the model was asked for them
    ballots: tuple[Ballot, ...]
    answers: tuple[UsedAnswer, ...]
    set_aside: Mapping[int, str] = {}  # slot of a candidate that could not be judged: why
    attention_check_slot: int | None = None
    unanswered: tuple[str, ...] = ()  # the keys of requests that gave no answer, or were not sent

    @property
    def methods(self) -> tuple[PickMethod, ...]:
        """The method that ranked each slot in `slots`."""
        named = {slot for ballot in self.ballots for slot in ballot.ranking}
        return tuple(self.method if slot in named else PickMethod.FALLBACK for slot in self.slots)


PENDING = Verdict((), (), PickMethod.LLM, {}, (), ())
"""The verdict on a question whose answers a batch has yet to bring."""


class JudgedPrompt(NamedTuple):
    """A question and its verdict."""

    question: Question
    verdict: Verdict


Receive = Callable[[JudgedPrompt | None], object]
"""Called with each question that was begun, in order; None if the question has no answer."""


def ignore(_: JudgedPrompt | None) -> None:
    """Receive a question whose verdict is not needed."""


AskJudge = Callable[[Iterable[Question], Receive], Awaitable[None]]
"""Passes each question on with its verdict; may end early."""
