"""A question as it is put to a model, and why it may get no answer."""

from enum import StrEnum
from typing import NamedTuple

from tasks.llm.prompt import Messages


class Posed(NamedTuple):
    """A question as it is put to a model."""

    key: str  # of its answer in the journal
    messages: Messages
    n_candidates: int
    n_picks: int
    rationale: bool  # whether to ask for a sentence on each pick


class NoAnswer(StrEnum):
    """Why a route gives no answer to a question."""

    TOO_LONG = "context_too_long"
    FILTERED = "content_filter"
    USELESS = "useless"
    """Its replies were no answers, not even when told what was wrong."""
    UNREACHED = "unreached"
    """It failed again and again."""

    @property
    def is_of_the_text(self) -> bool:
        """Whether fewer candidates at a time may help."""
        return self in (NoAnswer.TOO_LONG, NoAnswer.FILTERED)
