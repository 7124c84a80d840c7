"""Questions put to a judge, its verdicts, and the picks that come of them."""

from collections.abc import Awaitable, Callable, Iterable
from enum import StrEnum
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tasks.lib.journal.models import Answer
from tasks.lib.prompts.plan import Round
from tasks.llm_select.attention_checks import Planting

Candidates = NDArray[np.intp]
"""intp, shape (n,): indices of candidates, in the order of their slots in one prompt."""


class Method(StrEnum):
    """Who picked."""

    LLM = "llm"
    RUBRIC = "rubric"
    """The offline rubric, because the route is offline."""
    FALLBACK = "fallback"
    """The offline rubric in a model's place, since the model gave no answer."""


class Question(NamedTuple):
    """One prompt of a round."""

    round: int  # from 1
    prompt: int  # from 1, in its round
    candidates: Candidates
    n_picks: int
    attention_check: Planting | None = None  # then its picks are for the audit alone


class Bought(NamedTuple):
    """An answer that a verdict rests on."""

    key: str  # in the journal
    digest: str  # of what stands there
    route: str
    model: str  # as the provider names it
    prompt_tokens: int
    completion_tokens: int
    usd: float
    is_bound: bool  # tokens and price are upper bounds
    left_out: tuple[str, ...]  # parameters that the model does not take

    @classmethod
    def of(cls, key: str, answer: Answer) -> Self:
        """An answer of the journal."""
        return cls(key, *(getattr(answer, name) for name in cls._fields[1:]))


class Vote(NamedTuple):
    """What one vote says of a prompt."""

    n_candidates: int
    shown: tuple[int, ...]  # the picked slots as shown in this vote, the best first
    ballot: tuple[int, ...]  # the same, in the prompt's own slots
    is_whole: bool  # all candidates were shown together


class SetAside(NamedTuple):
    """A candidate that could not be judged, and why."""

    slot: int
    reason: str


class Verdict(NamedTuple):
    """The picks of one prompt, and what they rest on."""

    slots: tuple[int, ...]  # the best first
    methods: tuple[Method, ...]  # of each pick
    reasons: tuple[str | None, ...]  # for each pick, where a model was asked for one
    votes: tuple[Vote, ...]
    bought: tuple[Bought, ...]
    aside: tuple[SetAside, ...] = ()
    attention_check_slot: int | None = None


class Pick(NamedTuple):
    """A candidate that a prompt chose."""

    question: Question
    verdict: Verdict
    rank: int  # 1 = best

    @property
    def slot(self) -> int:
        """Where the candidate stands in its prompt."""
        return self.verdict.slots[self.rank - 1]

    @property
    def method(self) -> Method:
        """Who picked it."""
        return self.verdict.methods[self.rank - 1]

    @property
    def n_votes(self) -> int:
        """How many votes name it; 0 for a fallback."""
        return sum(self.slot in vote.ballot for vote in self.verdict.votes)

    @property
    def candidate(self) -> int:
        """The candidate's index."""
        return int(self.question.candidates[self.slot - 1])


class Selection(NamedTuple):
    """What was selected, and everything on the way there."""

    selected: list[Pick]  # the last round first, then by rank, then by the order of prompts
    picks: list[Pick]  # of all rounds, by round, prompt and rank
    rounds: list[Round]
    attention_checks: list[tuple[Question, Verdict]]
    is_partial: bool  # the cap was reached before all was asked


Judge = Callable[[Iterable[Question]], Awaitable[list[Verdict | None]]]
"""Answers questions, in their order; None, or nothing at the end, for those it had to leave."""
