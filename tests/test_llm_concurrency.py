"""Many questions at once: the first call alone, a clean stop, and nothing left running."""

import asyncio
import threading
import time
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from tasks.lib.gateway import concurrency
from tasks.lib.gateway.concurrency import ConcurrencyLimit, StopRun, TaskPool
from tasks.llm_select.verdicts import PickMethod
from tests.behaviours import honest
from tests.judge_desk import questions


def pool(ask, *, limit=4, advance=lambda: None, stopping=None):
    return TaskPool(ask, limit=limit, advance=advance, stopping=stopping or asyncio.Event())


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

    monkeypatch.setattr(concurrency, "time", clock := Clock())
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
    [(9, 9, 16), (9, 10, 4), (2, 14, 1), (0, 3, 1), (30, 31, 15), (40, 41, 16)],
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


def test_answers_come_in_the_order_of_their_questions():
    n_done = 0

    def advance():
        nonlocal n_done
        n_done += 1

    async def ask(question):
        await asyncio.sleep((question * 7 % 5) / 1000)
        return -question

    stopping = asyncio.Event()
    answers = asyncio.run(pool(ask, advance=advance, stopping=stopping).answers(range(30)))
    assert answers == [-i for i in range(30)]
    assert n_done == 30
    assert not stopping.is_set()


def test_questions_are_read_only_as_needed():
    n_taken = n_answered = most_ahead = 0

    def questions():
        nonlocal n_taken
        for i in range(50):
            n_taken += 1
            yield i

    async def ask(question):
        nonlocal n_answered, most_ahead
        most_ahead = max(most_ahead, n_taken - n_answered)
        await asyncio.sleep(0)
        n_answered += 1
        return question

    assert asyncio.run(pool(ask).answers(questions())) == list(range(50))
    assert most_ahead <= 5


def test_a_failure_is_raised_after_running_questions_have_ended():
    began, ended = [], []

    async def ask(question):
        began.append(question)
        await asyncio.sleep(0.01 if question != 5 else 0)
        if question == 5:
            raise RuntimeError("no more")
        ended.append(question)

    with pytest.raises(RuntimeError, match="no more"):
        asyncio.run(pool(ask).answers(range(50)))
    assert len(began) < 12
    assert sorted([*ended, 5]) == began


def test_a_clean_stop_returns_only_the_answers_so_far():
    class Enough(StopRun):
        """Ends the test cleanly."""

    async def ask(question):
        await asyncio.sleep(0)
        if question in (5, 6):
            raise Enough
        return question

    stopping = asyncio.Event()
    stopped = pool(ask, stopping=stopping)
    answers = asyncio.run(stopped.answers(range(50)))
    assert stopping.is_set()
    assert answers[5] is None
    assert [i for i in answers if i is not None] == [
        i for i in range(len(answers)) if i not in (5, 6)
    ]
    assert 6 <= len(answers) < 12
    assert asyncio.run(stopped.answers(range(50))) == []  # nor does it begin again


def test_answers_are_received_in_order_and_few_are_kept_for_a_slow_question(monkeypatch):
    monkeypatch.setattr(concurrency, "MAX_AHEAD", 6)
    began, received = [], []

    async def ask(question):
        began.append(question)
        while question == 0 and len(began) < 6:
            await asyncio.sleep(0)
        if question == 0:
            for _ in range(50):
                await asyncio.sleep(0)
            assert began == [0, 1, 2, 3, 4, 5]
            assert not received
        return question

    asyncio.run(pool(ask).pass_on(range(30), received.append))
    assert received == [*range(30)]


def test_an_answer_that_cannot_be_received_stops_the_run_after_running_questions_have_ended():
    ended = []

    async def ask(question):
        await asyncio.sleep(0)
        ended.append(question)
        return question

    def receive(answer):
        if answer == 2:
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        asyncio.run(pool(ask).pass_on(range(50), receive))
    assert sorted(ended) == [*range(len(ended))]
    assert 3 <= len(ended) < 12


def test_a_failure_takes_precedence_over_a_clean_stop():
    async def ask(question):
        await asyncio.sleep(0.001 * question)
        raise StopRun if question == 0 else RuntimeError("worse")

    with pytest.raises(RuntimeError, match="worse"):
        asyncio.run(pool(ask).answers(range(2)))


def test_an_interrupted_pool_leaves_nothing_running():
    running = set()

    async def ask(question):
        running.add(question)
        try:
            if question:
                await asyncio.sleep(60)
        finally:
            running.discard(question)
        return question

    async def interrupt():
        task = asyncio.create_task(pool(ask).answers(range(9)))
        while len(running) < 2:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not running

    asyncio.run(interrupt())


def test_questions_that_cannot_be_read_stop_the_running_ones():
    running = set()

    async def ask(question):
        running.add(question)
        try:
            await asyncio.sleep(60)
        finally:
            running.discard(question)

    def questions():
        yield from range(2)
        raise ValueError("unreadable")

    with pytest.raises(ValueError, match="unreadable"):
        asyncio.run(pool(ask).answers(questions()))
    assert not running
