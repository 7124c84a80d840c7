"""Many questions at once, but the first one alone: a wrong key is then refused once, not often."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

from tasks.core.events import log

Q = TypeVar("Q")
A = TypeVar("A")


class Crowd(Generic[Q, A]):
    """Asks with at most `concurrency` calls under way: one at first, one more for each success.

    When a call fails for good, no other is started, those under way are let end, since they may
    be paid for, and the first failure is raised. When the crowd is cancelled, so are they.

    Attributes:
        stopping: Set once a call has failed for good; who waits to try again should not.
    """

    def __init__(
        self,
        recall: Callable[[Q], A | None],
        ask: Callable[[Q], Awaitable[A]],
        *,
        concurrency: int,
        advance: Callable[[], None],
    ) -> None:
        """Ask by `ask` what `recall` does not know, and call `advance` for each answer."""
        self._recall, self._ask, self._advance = recall, ask, advance
        self._concurrency, self._width = concurrency, 1
        self._running: dict[asyncio.Task[A], int] = {}
        self._answers: dict[int, A] = {}
        self._failure: BaseException | None = None
        self.stopping = asyncio.Event()

    async def answers(self, questions: Iterable[Q]) -> list[A]:
        """The answers to all questions, in their order; questions are taken when it is their turn.

        Raises:
            Exception: The first that `ask` raised.
        """
        self._answers.clear()
        try:
            for i, question in enumerate(questions):
                await self._pose(i, question)
                if self.stopping.is_set():
                    break
            while self._running:
                await self._collect()
        finally:
            await self._cancel()
        if self._failure is not None:
            raise self._failure
        return [self._answers[i] for i in range(len(self._answers))]

    async def _pose(self, i: int, question: Q) -> None:
        known = self._recall(question)
        if known is not None:
            self._keep(i, known)
            await asyncio.sleep(0)  # let the calls under way move on
            return
        while len(self._running) >= self._width and not self.stopping.is_set():
            await self._collect()
        if not self.stopping.is_set():
            self._running[asyncio.ensure_future(self._ask(question))] = i

    async def _collect(self) -> None:
        done, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            i = self._running.pop(task)
            error = task.exception()
            if error is None:
                self._width = min(self._concurrency, self._width + 1)
                self._keep(i, task.result())
            elif self._failure is None:
                self._failure = error
                self.stopping.set()
                if self._running:
                    log.info("stopping; %d calls under way may end", len(self._running))

    def _keep(self, i: int, answer: A) -> None:
        self._answers[i] = answer
        self._advance()

    async def _cancel(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running.clear()
