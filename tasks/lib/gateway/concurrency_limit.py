"""Limit how many calls run at once: one at first, then more, and fewer for a slow server."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

MAX_STEP_S = 0.01  # between the starts of the first calls; twice a call's processor time


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
