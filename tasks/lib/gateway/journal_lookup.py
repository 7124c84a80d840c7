"""Look up a request in a journal: its answer, or why the model gives none."""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import NamedTuple, Protocol, Self

from tasks.lib.gateway.errors import ErrorKind
from tasks.lib.gateway.reply import ReplyProblem, UnusableReply
from tasks.lib.gateway.request import NoAnswer, Request
from tasks.lib.journal.models import Answer, FailedAttempt, FailedCall
from tasks.lib.journal.reader import JournalReader

MAX_USELESS = 2
"""Unusable replies to one question: to the question itself, and to one re-ask."""
USELESS = tuple(ReplyProblem)
ARRIVED = (*USELESS, ErrorKind.CUT_OFF)
"""Outcomes of calls whose replies arrived without an answer."""


class Pending(Exception):
    """A batch will bring the answer; the question must be repeated afterwards."""


class AnswerSource(Protocol):
    """A source of answers for a judge: a gateway, or a journal alone.

    Attributes:
        stopping: Set when the run has to end.
    """

    stopping: asyncio.Event

    async def lookup(self, request: Request) -> Answer | NoAnswer | None:
        """Return the result of earlier calls, or None if the model has to be called."""

    async def ask(self, request: Request) -> Answer | NoAnswer:
        """Return the answer, or why there is none.

        Raises:
            Pending: The answer is bought later, in a batch.
        """


class JournalLookup:
    """Returns answers from a journal alone, without calls; checks each answer against its text."""

    def __init__(self, journal: JournalReader) -> None:
        self._journal, self.stopping = journal, asyncio.Event()

    async def lookup(self, request: Request) -> Answer | NoAnswer | None:
        """Return the answer, or why the model gave none; None if the question was never finished.

        Failed calls count even if they were marked for retry later, since they explain why a
        prompt was split.

        Raises:
            DataError: The answer has been changed: its content does not match its text.
        """
        answer = find_answer(self._journal, request)
        if answer is None:
            return no_answer(failed_attempts(self._journal, request, with_retried=True))
        parsed = request.read(answer.text)
        if isinstance(parsed, UnusableReply) or tuple(parsed) != answer.parsed:
            raise self._journal.changed(request.key)
        return answer

    async def ask(self, request: Request) -> Answer | NoAnswer:
        """Return the same as `lookup`, but `UNREACHED` if the question was never finished."""
        return await self.lookup(request) or NoAnswer.UNREACHED


def find_answer(journal: JournalReader, request: Request) -> Answer | None:
    """Return the answer stored under a request's key or old key, or None."""
    answer = journal.answer(request.key)
    if answer is None and journal.has_former_keys:
        former = journal.answer(request.former_key)
        return former and former._replace(key=request.key)
    return answer


def failed_attempts(
    journal: JournalReader, request: Request, *, with_retried: bool = False
) -> list[FailedAttempt]:
    """Return the failed calls for a request in all runs, in order."""
    keys = (request.key, request.former_key) if journal.has_former_keys else (request.key,)
    return journal.failed_attempts(*keys, with_retried=with_retried)


def no_answer(attempts: Sequence[FailedAttempt]) -> NoAnswer | None:
    """Return why no further call is worthwhile after these failures, or None if one is."""
    outcomes = [attempt.outcome for attempt in attempts]
    for reason in (NoAnswer.TOO_LONG, NoAnswer.FILTERED):
        if reason in outcomes:
            return reason
    n_useless = sum(outcome in USELESS for outcome in outcomes)
    return NoAnswer.USELESS if n_useless >= MAX_USELESS else None


class WithoutAnswer(NamedTuple):
    """The calls for some questions that got no answer but cost money, or may have."""

    replies: list[FailedCall]  # a reply arrived, which was paid for
    silent: list[FailedCall]  # none arrived; it is unknown whether they were charged

    @classmethod
    def of(cls, journal: JournalReader, keys: Iterable[str]) -> Self:
        """Return these calls for the questions with these keys, in all runs together."""
        # The others cost nothing.
        calls = [call for call in journal.failed_calls() if call.cost.prompt_tokens]
        asked = {call.key for call in calls}.intersection(keys)
        calls = [call for call in calls if call.key in asked]
        arrived = [call.outcome in ARRIVED or not call.cost.is_upper_bound for call in calls]
        silent = [call for call, is_reply in zip(calls, arrived, strict=True) if not is_reply]
        return cls(list(compress(calls, arrived)), silent)
