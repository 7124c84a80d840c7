"""How many calls run at once: the first one alone, then more, and fewer for a slow server."""

import asyncio
import threading
import time
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from tasks.lib.gateway import concurrency_limit
from tasks.lib.gateway.concurrency_limit import ConcurrencyLimit
from tasks.llm_select.verdicts import PickMethod
from tests.behaviours import honest
from tests.judge_desk import questions


def through(limit, n_calls, *, hold_s=0.0, fails=()):
    """Return how many calls were running when each call began, including itself."""

    async def run():
        n_inside, seen = 0, []

        async def call(i):
            nonlocal n_inside
            async with limit.place():
                n_inside += 1
                seen.append(n_inside)
                await asyncio.sleep(hold_s)
                if i not in fails:
                    limit.succeeded(hold_s)
                n_inside -= 1

        await asyncio.gather(*(call(i) for i in range(n_calls)))
        return seen

    return asyncio.run(run())


def test_calls_run_one_by_one_until_a_call_succeeds():
    seen = through(ConcurrencyLimit(8, 60.0), 20, hold_s=0.01, fails=range(5))
    assert seen[:6] == [1] * 6
    assert max(seen) > 1


def test_after_a_success_the_allowed_number_of_calls_run_at_once():
    assert max(through(ConcurrencyLimit(8, 60.0), 60, hold_s=0.02)) == 8
    assert max(through(ConcurrencyLimit(1, 60.0), 5, hold_s=0.001)) == 1


def test_without_a_success_calls_never_overlap():
    assert max(through(ConcurrencyLimit(64, 60.0), 30, hold_s=0.001, fails=range(30))) == 1


def started_s(n_calls, duration_s):
    """Return how long it takes to start calls after a call of `duration_s` has succeeded."""

    async def run():
        limit, came = ConcurrencyLimit(n_calls, 60.0), []

        async def call():
            async with limit.place():
                came.append(time.monotonic())
                while len(came) < n_calls:
                    await asyncio.sleep(0.001)

        limit.succeeded(duration_s)
        await asyncio.gather(*(call() for _ in range(n_calls)))
        return came[-1] - came[0]

    return asyncio.run(run())


def test_the_first_calls_are_spread_over_the_duration_of_one_call():
    assert started_s(20, 0.1) > 0.08


def test_the_first_calls_to_a_slow_model_do_not_wait_for_one_of_them_to_end():
    assert 0.15 < started_s(20, 3600.0) < 60


@pytest.fixture
def clock(monkeypatch):
    """Return a clock of the limits that only the test moves."""

    class Clock:
        now_s = 1000.0

        def monotonic(self):
            return self.now_s

    monkeypatch.setattr(concurrency_limit, "time", clock := Clock())
    return clock


async def count_places(limit, most=100):
    """Return how many calls may run at once."""
    async with AsyncExitStack() as held:
        for n in range(most):
            try:
                async with asyncio.timeout(0.05):
                    await held.enter_async_context(limit.place())
            except TimeoutError:
                return n
    return most


@pytest.mark.parametrize(
    ("n_in_time", "n_late", "n_places"),
    [(9, 9, 16), (9, 10, 4), (2, 14, 1), (1, 3, 1), (30, 31, 15), (40, 41, 16)],
)
def test_if_most_calls_time_out_only_so_many_run_as_the_server_can_answer_in_time(
    clock, n_in_time, n_late, n_places
):
    async def run():
        limit = ConcurrencyLimit(16, 60.0)
        began_s = clock.now_s
        async with AsyncExitStack() as held:
            await held.enter_async_context(limit.place())
            limit.succeeded(0.0)
            for _ in range(15):
                await held.enter_async_context(limit.place())
            clock.now_s += 1
            for _ in range(n_in_time - 1):
                limit.succeeded(50.0)
            lowered = [limit.timed_out(began_s) for _ in range(n_late)]
            clock.now_s += 1
            if n_places < 16:  # these were sent before it was lowered
                lowered += [limit.timed_out(began_s) for _ in range(9)]
        assert [n for n in lowered if n] == ([n_places] if n_places < 16 else [])
        assert await count_places(limit) == n_places
        for _ in range(20):
            limit.succeeded(31.0 * n_places / (n_places + 1))
        assert await count_places(limit) == n_places
        for _ in range(20):
            limit.succeeded(14.0)
        assert await count_places(limit) == 16

    asyncio.run(run())


def test_what_happened_before_the_last_time_limit_does_not_count(clock):
    async def run():
        limit = ConcurrencyLimit(4, 60.0)
        limit.succeeded(0.0)
        while await count_places(limit) < 4:
            await asyncio.sleep(0)
        for _ in range(500):
            limit.succeeded(1.0)
        assert limit.timed_out(clock.now_s) is None
        clock.now_s += 61
        assert limit.timed_out(clock.now_s) == 1

    asyncio.run(run())


@pytest.mark.slow
def test_a_server_with_one_slot_is_not_asked_more_than_it_can_answer(provider, put, book, caplog):
    slot = threading.Lock()

    def queued(call):
        with slot:
            time.sleep(0.05)
        return honest(call)

    provider.script(*[queued] * 200)
    verdicts = put(provider.deployment(), questions(48), concurrency=48, timeout_s=0.9)
    assert [verdict.methods for verdict in verdicts] == [(PickMethod.LLM,)] * 48
    assert "most calls take longer than timeout_s" in caplog.text
    assert Counter(book())["timeout"] < 96  # fewer than two for each question
