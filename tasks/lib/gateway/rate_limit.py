"""Limit a deployment's requests and tokens per minute: calls wait; none is rejected."""

import asyncio
import time
from collections import deque

WINDOW_S = 60.0
LOOK_AGAIN_S = 0.25  # while waiting, since calls may end with fewer tokens than expected


class RateLimiter:
    """Keeps the calls to one deployment within its limits, first come, first served.

    A call counts for one window from its start: first with the tokens that it may use, and after
    its end with the tokens that it actually used.

    Args:
        rpm: Requests per window; None for no limit.
        tpm: Tokens per window; None for no limit. A call that exceeds the limit runs alone.
        window_s: The length of the window.
    """

    def __init__(self, rpm: int | None, tpm: int | None, *, window_s: float = WINDOW_S) -> None:
        self._rpm, self._tpm, self._window_s = rpm, tpm, window_s
        self._started: deque[Permit] = deque()
        self._turn = asyncio.Lock()

    async def acquire(self, n_tokens: int, until: asyncio.Event | None = None) -> "Permit":
        """Wait until a call of up to `n_tokens` can start, or until the event; count the call."""
        permit = Permit(n_tokens)
        if self._rpm is None and self._tpm is None:
            return permit
        async with self._turn:
            while (wait_s := self._wait_s(n_tokens)) > 0 and not (until and until.is_set()):
                await asyncio.sleep(min(wait_s, LOOK_AGAIN_S))
            permit.at_s = time.monotonic()
            self._started.append(permit)
        return permit

    def _wait_s(self, n_tokens: int) -> float:
        """Return the seconds until enough early calls have left the window."""
        now = time.monotonic()
        while self._started and self._started[0].at_s <= now - self._window_s:
            self._started.popleft()
        n_calls, n_used = len(self._started), sum(permit.n_tokens for permit in self._started)
        until_s = now
        for permit in self._started:
            is_slow = self._rpm is not None and n_calls >= self._rpm
            is_full = self._tpm is not None and n_used + n_tokens > self._tpm
            if not (is_slow or is_full):
                break
            n_calls, n_used = n_calls - 1, n_used - permit.n_tokens
            until_s = permit.at_s + self._window_s
        return until_s - now


class Permit:
    """One call in the window; set `n_tokens` to the tokens used once they are known."""

    def __init__(self, n_tokens: int) -> None:
        self.n_tokens, self.at_s = n_tokens, 0.0
