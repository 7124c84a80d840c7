"""Ask many questions at once, but the first one alone, so a wrong key is refused only once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from tasks.lib.core.events import log

WAITING_PER_CALL = 2  # open questions per running call, since some wait for a retry

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
        self._places = asyncio.Semaphore(limit)
        self._failures: list[Exception] = []
        self._is_ending = False

    async def answers(self, questions: Iterable[Q]) -> list[A | None]:
        """Return the answers in the order of the questions, which are read only as needed.

        The answer is None if `StopRun` ended the question. Questions that were not begun are
        missing from the end.

        Raises:
            Exception: The first exception of `ask` other than `StopRun`.
        """
        answers: dict[int, A] = {}
        n_begun = 0
        try:
            async with asyncio.TaskGroup() as group:
                for question in questions:
                    await self._places.acquire()
                    if self._stopping.is_set():
                        self._places.release()
                        break
                    group.create_task(self._answer(n_begun, question, answers))
                    n_begun += 1
        except ExceptionGroup as group_error:  # the questions could not be read
            raise group_error.exceptions[0] from None
        if self._failures:
            raise self._failures[0]
        return [answers.get(i) for i in range(n_begun)]

    async def _answer(self, i: int, question: Q, answers: dict[int, A]) -> None:
        try:
            answers[i] = await self._ask(question)
            self._advance()
        except Exception as error:
            if not isinstance(error, StopRun):
                self._failures.append(error)
            if not self._is_ending:
                log.info("stopping; questions in progress may finish")
            self._is_ending = True
            self._stopping.set()
        finally:
            self._places.release()


class RampUp:
    """Limits calls to one until a call has succeeded, then gradually raises the limit.

    The first calls start spread over the duration of one call. If they started all at once, they
    would also end all at once, and stay in step from then on.
    """

    def __init__(self, concurrency: int) -> None:
        self._places = asyncio.Semaphore(1)
        self._n_closed = concurrency - 1
        self._step_s: float | None = None
        self._concurrency = concurrency

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a free place, and hold it during one call."""
        async with self._places:
            yield

    def succeeded(self, duration_s: float) -> None:
        """Record that a call has succeeded, and how long it took."""
        if self._step_s is None:
            self._step_s = duration_s / self._concurrency
            self._open_place()

    def _open_place(self) -> None:
        if self._n_closed and self._step_s is not None:
            self._n_closed -= 1
            self._places.release()
            asyncio.get_running_loop().call_later(self._step_s, self._open_place)
