"""What a journal knows about a request: its answer, or that the model gives none."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from tasks.lib.gateway.reply import ReplyProblem, UnusableReply
from tasks.lib.gateway.request import NoAnswer, Request
from tasks.lib.journal.models import Answer, FailedAttempt
from tasks.lib.journal.reader import JournalReader

MAX_USELESS = 2
"""Unusable replies to one question: the first, and one to the re-ask that names the problem."""
USELESS = tuple(ReplyProblem)


class AnswerSource(Protocol):
    """What a judge asks: a gateway, or a journal alone.

    Attributes:
        stopping: Set when the run is to end.
    """

    stopping: asyncio.Event

    async def lookup(self, request: Request) -> Answer | NoAnswer | None:
        """Return the result of earlier calls; None if the model has to be asked."""

    async def ask(self, request: Request) -> Answer | NoAnswer:
        """Return the answer, or why there is none."""


class JournalLookup:
    """Answers from a journal alone: it makes no call, and checks each row against its text."""

    def __init__(self, journal: JournalReader) -> None:
        self._journal, self.stopping = journal, asyncio.Event()

    async def lookup(self, request: Request) -> Answer | NoAnswer | None:
        """Return the answer, or why the model gave none; None for a question never finished.

        Failed calls count even if they have been marked for retry since: they explain why a prompt
        was split.

        Raises:
            DataError: The answer was changed: its content is not what its text says.
        """
        answer = find_answer(self._journal, request)
        if answer is None:
            return no_answer(failed_attempts(self._journal, request, with_retried=True))
        parsed = request.read(answer.text)
        if isinstance(parsed, UnusableReply) or tuple(parsed) != answer.parsed:
            raise self._journal.changed(request.key)
        return answer

    async def ask(self, request: Request) -> Answer | NoAnswer:
        """Return the same; a question that was never finished counts as not reached."""
        return await self.lookup(request) or NoAnswer.UNREACHED


def find_answer(journal: JournalReader, request: Request) -> Answer | None:
    """Return the answer to a request, under its key or its former one, or None."""
    answer = journal.answer(request.key)
    if answer is None and journal.has_former_keys:
        former = journal.answer(request.former_key)
        return former and former._replace(key=request.key)
    return answer


def failed_attempts(
    journal: JournalReader, request: Request, *, with_retried: bool = False
) -> list[FailedAttempt]:
    """Return the failed calls for a request, in all runs, in their order."""
    keys = (request.key, request.former_key) if journal.has_former_keys else (request.key,)
    return journal.failed_attempts(*keys, with_retried=with_retried)


def no_answer(attempts: Sequence[FailedAttempt]) -> NoAnswer | None:
    """Return why no further call is worth making after these failed ones, or None."""
    outcomes = [attempt.outcome for attempt in attempts]
    for reason in (NoAnswer.TOO_LONG, NoAnswer.FILTERED):
        if reason in outcomes:
            return reason
    n_useless = sum(outcome in USELESS for outcome in outcomes)
    return NoAnswer.USELESS if n_useless >= MAX_USELESS else None
