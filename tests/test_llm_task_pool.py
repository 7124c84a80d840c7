"""Many questions at once: answers in order, a clean stop, and nothing left running."""

import asyncio

import pytest

from tasks.lib.gateway import task_pool
from tasks.lib.gateway.task_pool import StopRun, TaskPool


def pool(ask, *, limit=4, advance=lambda: None, stopping=None):
    return TaskPool(ask, limit=limit, advance=advance, stopping=stopping or asyncio.Event())


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
    monkeypatch.setattr(task_pool, "MAX_AHEAD", 6)
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
