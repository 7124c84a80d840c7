"""Questions put to a judge, its verdicts, and the picks that come of them."""

from collections.abc import Awaitable, Callable, Iterable
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.llm.rules import Round

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


class Verdict(NamedTuple):
    """The picks of one prompt, and what they rest on."""

    slots: tuple[int, ...]  # the best first
    method: Method
    key: str  # of the question in the journal
    prompt_tokens: int
    completion_tokens: int
    usd: float | None  # None where tokens or price are not known


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
    def candidate(self) -> int:
        """The candidate's index."""
        return int(self.question.candidates[self.slot - 1])


class Selection(NamedTuple):
    """What was selected, and everything on the way there."""

    selected: list[Pick]  # by rank, then by the order of prompts
    picks: list[Pick]  # of all rounds, by round, prompt and rank
    rounds: list[Round]


Judge = Callable[[Iterable[Question]], Awaitable[list[Verdict]]]
"""Answers questions, in their order."""
