"""Send one question alone, so a wrong key is refused only once, then the others concurrently."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from tasks.lib.core.events import log

WAITING_PER_CALL = 2  # open questions per running call, since some wait for a retry
MAX_STEP_S = 0.01  # between the starts of the first calls; twice a call's processor time
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


class ConcurrencyLimit:
    """Limits how many calls run at once, and adapts to a server that is too slow for them.

    One call runs until a call has succeeded. Then the limit rises to `concurrency`, spread over the
    duration of that call, but by one at least every `MAX_STEP_S`: if all calls started at once,
    they would also end at once, and stay in step from then on.

    A server with few slots lets the other calls wait, until most of them time out. Then the limit
    falls to half the number of calls that have succeeded within one time-out; by Little's law,
    those calls would take half of it. It rises again, by one for each call that would still take
    less with one more beside it.

    Attributes:
        lowered_s: When the limit last fell, by the monotonic clock; 0 if it never did.

    Args:
        concurrency: The highest limit, at least 1.
        timeout_s: The time limit of a call.
    """

    def __init__(self, concurrency: int, timeout_s: float) -> None:
        self._places = asyncio.Semaphore(1)
        self._limit, self._concurrency, self._timeout_s = 1, concurrency, timeout_s
        self._n_surplus = 0  # places above the limit, which close when their calls end
        self._ramp: asyncio.TimerHandle | None = None
        self._has_succeeded = False
        self._ended: deque[tuple[float, bool]] = deque()  # when a call ended; did it time out?
        self.lowered_s = 0.0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a free place, and hold it during one call."""
        await self._places.acquire()
        try:
            yield
        finally:
            if self._n_surplus:
                self._n_surplus -= 1
            else:
                self._places.release()

    def succeeded(self, duration_s: float) -> None:
        """Record that a call has succeeded, and how long it took."""
        self._record(is_timeout=False)
        if not self._has_succeeded:
            self._has_succeeded = True
            self._open_gradually(min(duration_s / self._concurrency, MAX_STEP_S))
        elif self.lowered_s and duration_s * (1 + 1 / self._limit) < self._timeout_s / 2:
            self._open_place()

    def timed_out(self, began_s: float) -> int | None:
        """Record that a call has timed out; return the new limit if that lowers it.

        A call that began before the limit was last lowered does not count.
        """
        if began_s < self.lowered_s:
            return None
        self._record(is_timeout=True)
        n_timed_out = sum(is_timeout for _, is_timeout in self._ended)
        n_succeeded = len(self._ended) - n_timed_out
        limit = max(1, n_succeeded // 2)
        if n_timed_out <= n_succeeded or limit >= self._limit:
            return None
        self._n_surplus += self._limit - limit
        self._limit, self.lowered_s = limit, time.monotonic()
        self._ended.clear()
        if self._ramp:
            self._ramp.cancel()
        return limit

    def _record(self, *, is_timeout: bool) -> None:
        now = time.monotonic()
        self._ended.append((now, is_timeout))
        while self._ended[0][0] < now - self._timeout_s:
            self._ended.popleft()

    def _open_gradually(self, step_s: float) -> None:
        self._open_place()
        if self._limit < self._concurrency:
            loop = asyncio.get_running_loop()
            self._ramp = loop.call_later(step_s, self._open_gradually, step_s)

    def _open_place(self) -> None:
        if self._limit == self._concurrency:
            return
        self._limit += 1
        if self._n_surplus:
            self._n_surplus -= 1
        else:
            self._places.release()
