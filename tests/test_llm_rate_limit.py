"""The rate limits of a deployment: calls wait, and none is rejected."""

import asyncio
import random
import time

import pytest

from tasks.lib.gateway.rate_limit import RateLimiter

WINDOW_S = 0.25
SLACK_S = 0.002  # between a clock that is read before and after


def starts(limiter, calls, *, used=None, hold_s=0.0):
    """Return the start times of calls with the given numbers of tokens, all requested at once."""

    async def call(n_tokens):
        start = await limiter.acquire(n_tokens)
        at_s = time.monotonic()
        await asyncio.sleep(hold_s)
        if used is not None:
            start.n_tokens = used
        return at_s

    async def run():
        return await asyncio.gather(*(call(n) for n in calls))

    return asyncio.run(run())


def most_in_a_window(times, weights):
    pairs = sorted(zip(times, weights, strict=True))
    return max(
        sum(w for t, w in pairs if start <= t < start + WINDOW_S - SLACK_S) for start, _ in pairs
    )


def test_no_window_has_more_requests_than_allowed_and_none_is_refused():
    times = starts(RateLimiter(4, None, window_s=WINDOW_S), [1] * 14)
    assert len(times) == 14
    assert most_in_a_window(times, [1] * 14) == 4
    assert max(times) - min(times) < 40 * WINDOW_S  # nor does it wait for longer than it must


def test_no_window_has_more_tokens_than_allowed():
    draw = random.Random(0)
    calls = [draw.randint(50, 400) for _ in range(14)]
    times = starts(RateLimiter(None, 1000, window_s=WINDOW_S), calls)
    assert most_in_a_window(times, calls) <= 1000
    assert max(times) - min(times) < sum(calls) / 1000 * WINDOW_S * 20


def test_both_limits_apply_at_the_same_time():
    calls = [100] * 4 + [400] * 5
    times = starts(RateLimiter(3, 1000, window_s=WINDOW_S), calls)
    assert most_in_a_window(times, calls) <= 1000
    assert most_in_a_window(times, [1] * 9) <= 3


def test_calls_are_served_in_order():
    times = starts(RateLimiter(2, 500, window_s=WINDOW_S), [400, 50, 400, 50, 50])
    assert times == sorted(times)


def test_a_call_above_the_limit_runs_alone():
    times = starts(RateLimiter(None, 100, window_s=WINDOW_S), [50, 5000, 50])
    assert times[1] - times[0] >= WINDOW_S - SLACK_S
    assert times[2] - times[1] >= WINDOW_S - SLACK_S


def test_without_limits_no_call_waits():
    times = starts(RateLimiter(None, None, window_s=60), [10**9] * 50)
    assert max(times) - min(times) < 30


def test_a_call_that_used_less_than_expected_makes_room_for_waiting_calls():
    times = starts(RateLimiter(None, 1000, window_s=60), [900] * 2, used=50)
    assert times[1] - times[0] < 30


def test_a_call_that_used_more_than_expected_takes_room():
    limiter = RateLimiter(None, 1000, window_s=WINDOW_S)

    async def run():
        first = await limiter.acquire(100)
        first.n_tokens = 950
        began = time.monotonic()
        await limiter.acquire(100)
        return time.monotonic() - began

    assert asyncio.run(run()) >= WINDOW_S - 0.02


def test_a_cancelled_wait_lets_the_next_call_continue():
    limiter = RateLimiter(1, None, window_s=WINDOW_S)

    async def run():
        await limiter.acquire(1)
        waiting = asyncio.create_task(limiter.acquire(1))
        next_call = asyncio.create_task(limiter.acquire(1))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.wait_for(next_call, 30)

    asyncio.run(run())
