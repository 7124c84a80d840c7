"""Questions to a judge, its verdicts, and the picks that follow from them."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tasks.lib.journal.models import Answer
from tasks.lib.prompts.plan import Round
from tasks.llm_select.attention_checks import Insertion
from tasks.llm_select.votes import Ranking

Members = NDArray[np.intp]
"""intp, shape (n,): the candidates of one prompt by index, in the order of their slots."""


class PickMethod(StrEnum):
    """What picked a record: a model, or the offline judge."""

    LLM = "llm"
    OFFLINE = "offline"
    """The offline judge, because the route is offline."""
    FALLBACK = "fallback"
    """The offline judge, because the model gave no answer."""


class Question(NamedTuple):
    """One prompt of a round."""

    round: int  # from 1
    prompt: int  # from 1, in its round
    candidates: Members
    n_picks: int
    attention_check: Insertion | None = None  # then its picks are not part of the selection


class UsedAnswer(NamedTuple):
    """An answer behind a verdict, without its text."""

    key: str
    digest: str
    route: str  # the alias that the route has now
    model: str  # as the provider names it
    prompt_tokens: int
    completion_tokens: int
    usd: float
    is_upper_bound: bool
    dropped_params: tuple[str, ...]

    @classmethod
    def of(cls, answer: Answer, alias: str) -> Self:
        """Return an answer of the journal; it may have been bought under another alias."""
        facts = answer._asdict() | {"digest": answer.digest, "route": alias}
        return cls(**{name: facts[name] for name in cls._fields})


class Ballot(NamedTuple):
    """One vote on a prompt."""

    n_candidates: int
    shown: Ranking  # the picked slots as this vote numbered them
    ranking: Ranking  # the same in the prompt's own numbers
    is_whole: bool  # all candidates were shown together


class Verdict(NamedTuple):
    """The picks of one prompt, and the ballots and answers behind them."""

    slots: Ranking
    methods: tuple[PickMethod, ...]  # of each pick
    reasons: tuple[str | None, ...]  # of each pick, if the model was asked for one
    ballots: tuple[Ballot, ...]
    answers: tuple[UsedAnswer, ...]
    set_aside: Mapping[int, str] = {}  # slot of a candidate that could not be judged: why
    attention_check_slot: int | None = None


class Pick(NamedTuple):
    """A candidate that a prompt picked."""

    question: Question
    verdict: Verdict
    rank: int  # 1 is the best

    @property
    def slot(self) -> int:
        """Its slot in the prompt."""
        return self.verdict.slots[self.rank - 1]

    @property
    def method(self) -> PickMethod:
        """What picked it."""
        return self.verdict.methods[self.rank - 1]

    @property
    def n_votes(self) -> int:
        """Number of votes that name it; 0 for a fallback."""
        return sum(self.slot in ballot.ranking for ballot in self.verdict.ballots)

    @property
    def candidate(self) -> int:
        """The index of the candidate."""
        return int(self.question.candidates[self.slot - 1])


class Selection(NamedTuple):
    """The selection, and the rounds that led to it."""

    selected: list[Pick]  # the last round first, then by rank, then by the order of prompts
    picks: list[Pick]  # of all rounds, by round, prompt and rank
    rounds: list[Round]
    attention_checks: list[tuple[Question, Verdict]]
    is_partial: bool  # the cap was reached before every question was asked


AskJudge = Callable[[Iterable[Question]], Awaitable[list[Verdict | None]]]
"""Returns a verdict on each question: None, or nothing at the end, for those without an answer."""
