"""Ask many questions, a bounded number at a time, and stop cleanly."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

from tasks.lib.core.events import log

WAITING_PER_CALL = 2  # open questions per running call, since some wait for a retry
MAX_AHEAD = 10_000  # questions begun after one that is still open, since their answers use memory

Q = TypeVar("Q")
A = TypeVar("A")


class StopRun(Exception):
    """Ends the run cleanly: no further call is made, and the answers so far count."""


class TaskPool(Generic[Q, A]):
    """Asks questions, a bounded number at a time.

    After the first failure, no further question is sent. Those in progress may finish, since
    they may already be paid for; then the failure is raised. If the caller is cancelled, the
    questions in progress are cancelled too.

    Args:
        ask: Answers one question.
        limit: The maximum number of questions in progress at a time.
        advance: Called for each answer.
        stopping: Set after a failure, or by `ask` as soon as it notices a failure, so that
            questions that wait for a retry give up.
    """

    def __init__(
        self,
        ask: Callable[[Q], Awaitable[A]],
        *,
        limit: int,
        advance: Callable[[], None],
        stopping: asyncio.Event,
    ) -> None:
        self._ask, self._advance, self._stopping = ask, advance, stopping
        self._limit = limit
        self._failures: list[Exception] = []
        self._is_ending = False

    async def answers(self, questions: Iterable[Q]) -> list[A | None]:
        """Return the answers in order, as `pass_on` passes them on.

        Raises:
            Exception: As for `pass_on`.
        """
        answers: list[A | None] = []
        await self.pass_on(questions, answers.append)
        return answers

    async def pass_on(self, questions: Iterable[Q], receive: Callable[[A | None], object]) -> None:
        """Call `receive` with each answer, in the order of the questions.

        Questions are read only as needed. The answer is None if `StopRun` ended the question.
        Questions that were not begun are missing from the end.

        Raises:
            Exception: The first exception of `ask` other than `StopRun`, or of `receive`.
        """
        waiting: dict[int, A | None] = {}  # answers that came before an earlier question's
        room = asyncio.Semaphore(MAX_AHEAD)
        n_received = 0
        numbered = enumerate(questions)

        async def work() -> None:
            nonlocal n_received
            while not self._stopping.is_set() and (found := next(numbered, None)):
                i, question = found
                await room.acquire()
                waiting[i] = await self._answer(question)
                while n_received in waiting:
                    room.release()
                    n_received += 1
                    try:
                        receive(waiting.pop(n_received - 1))
                    except Exception as error:
                        self._fail(error)
                if not i % self._limit:  # signals are noticed even if no answer has to be awaited
                    await asyncio.sleep(0)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._limit):
                    group.create_task(work())
        except ExceptionGroup as group_error:  # the questions could not be read
            raise group_error.exceptions[0] from None
        if self._failures:
            raise self._failures[0]

    async def _answer(self, question: Q) -> A | None:
        if self._stopping.is_set():  # since there was no room before
            return None
        try:
            answer = await self._ask(question)
            self._advance()
        except Exception as error:
            self._fail(error)
            return None
        return answer

    def _fail(self, error: Exception) -> None:
        if not isinstance(error, StopRun):
            self._failures.append(error)
        if not self._is_ending:
            log.info("stopping; questions in progress may finish")
        self._is_ending = True
        self._stopping.set()
