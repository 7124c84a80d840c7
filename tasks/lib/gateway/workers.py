"""Many questions at once, but the first call alone: a wrong key is then refused once, not often."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from tasks.lib.core.events import log

WAITING_PER_CALL = 2  # questions under way for each call, since some wait to try again

Q = TypeVar("Q")
A = TypeVar("A")


class Halt(Exception):
    """An orderly end: no other call is to be made, and what was answered so far counts."""


class Gate:
    """Lets calls through: one at first; once one has succeeded, ever more up to `concurrency`.

    The starts of the first calls are spread over the time that a call takes: all at once they
    would also come back all at once, and go on in step like that.
    """

    def __init__(self, concurrency: int) -> None:
        self._places = asyncio.Semaphore(1)
        self._n_shut = concurrency - 1
        self._step_s: float | None = None
        self._concurrency = concurrency

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place for one call, held while it lasts."""
        async with self._places:
            yield

    def succeeded(self, duration_s: float) -> None:
        """Tell that a call has succeeded, and how long it took."""
        if self._step_s is None:
            self._step_s = duration_s / self._concurrency
            self._widen()

    def _widen(self) -> None:
        if self._n_shut and self._step_s is not None:
            self._n_shut -= 1
            self._places.release()
            asyncio.get_running_loop().call_later(self._step_s, self._widen)


class Crowd(Generic[Q, A]):
    """Asks questions, a bounded number at a time.

    When one fails for good, no other is begun, those under way are let end, since they may be
    paid for, and the first failure is raised. When the crowd is cancelled, so are they.

    Attributes:
        stopping: Set once a question has failed for good, or by it as soon as it knows; who waits
            to try again should not.
    """

    def __init__(
        self, ask: Callable[[Q], Awaitable[A]], *, limit: int, advance: Callable[[], None]
    ) -> None:
        """Ask by `ask`, at most `limit` at a time, and call `advance` for each answer."""
        self._ask, self._advance, self._limit = ask, advance, limit
        self._running: dict[asyncio.Task[A], int] = {}
        self._answers: dict[int, A] = {}
        self._failure: BaseException | None = None
        self._is_ending = False
        self.stopping = asyncio.Event()

    async def answers(self, questions: Iterable[Q]) -> list[A | None]:
        """The answers to all questions, in their order; questions are taken when it is their turn.

        None stands for what was not answered because the crowd was halted; questions that were
        not even taken are left out.

        Raises:
            Exception: The first that `ask` raised, unless it was a Halt.
        """
        self._answers.clear()
        n_taken = 0
        try:
            for question in questions:
                while len(self._running) >= self._limit:
                    await self._collect()
                if self.stopping.is_set():
                    break
                self._running[asyncio.ensure_future(self._ask(question))] = n_taken
                n_taken += 1
            while self._running:
                await self._collect()
        finally:
            await self._cancel()
        if self._failure is not None:
            raise self._failure
        return [self._answers.get(i) for i in range(n_taken)]

    async def _collect(self) -> None:
        done, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            i = self._running.pop(task)
            error = task.exception()
            if error is None:
                self._answers[i] = task.result()
                self._advance()
            else:
                self._stop(error)

    def _stop(self, error: BaseException) -> None:
        if not self._is_ending and self._running:
            log.info("stopping; %d questions under way may end", len(self._running))
        self._is_ending = True
        self.stopping.set()
        if self._failure is None and not isinstance(error, Halt):
            self._failure = error

    async def _cancel(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running.clear()
