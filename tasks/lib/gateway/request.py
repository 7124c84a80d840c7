"""A question as it is put to a model, and why it may get no answer."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple

from tasks.lib.gateway.prompt import REASK, Messages
from tasks.lib.gateway.reply_json import Unreadable


class Posed(NamedTuple):
    """A question as it is put to a model."""

    key: str  # of its answer in the journal
    messages: Messages
    schema: dict[str, Any]  # of the JSON object to answer with
    read: Callable[[str], list[int] | Unreadable]  # what a reply says, or why it is no answer
    reask: str = REASK  # the file with the words that follow a reply which is no answer


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
