"""The journal keeps paid answers, and no cap is exceeded."""

import asyncio
import threading
from contextlib import closing

import pytest

from tasks.estimate.journal_admin import retry_failed
from tasks.lib.journal import reader
from tasks.lib.journal.group_commit import GroupCommit
from tasks.lib.journal.journal import Journal
from tasks.lib.journal.models import Refused, Settled
from tasks.lib.journal.schema import connect
from tests.journal_entries import ANSWER, REFUSED, TIMEOUT, buy, call, rows


def test_an_answer_is_unchanged_after_reopening(db_path):
    with closing(Journal(db_path)) as journal:
        assert journal.answer("k") is None
        asyncio.run(buy(journal))
    with closing(Journal(db_path)) as journal:
        assert journal.answer("k") == ANSWER
    assert rows(db_path) == [("answer", 0.5, 0)]


@pytest.mark.parametrize("step", [1, -1, 7, 101])
def test_answers_are_found_in_any_order_while_another_run_adds_some(journals, step, monkeypatch):
    monkeypatch.setattr(reader, "MAX_KEPT", 20)  # so that rows that were read ahead are dropped
    journal, other = journals(), journals()

    async def store(numbers):
        await asyncio.gather(*(buy(other, f"k{i}") for i in numbers))

    asyncio.run(store(range(0, 150, 2)))
    for i in range(0, 150 * abs(step), step) if step > 0 else range(149, -1, -1):
        key = f"k{i % 150}"
        if journal.answer(key) is None:
            asyncio.run(store([i % 150]))
        assert journal.answer(key) == ANSWER._replace(key=key)


def test_an_answer_is_on_disk_for_others_before_the_journal_is_closed(journals):
    journal, other = journals(), journals()
    asyncio.run(buy(journal))
    assert other.answer("k") == ANSWER


def test_a_call_is_reserved_at_its_upper_bound_and_settled_at_its_cost(journals, db_path):
    journal = journals(cap_usd=5.0)

    async def run():
        first, second = await journal.reserve(call("a")), await journal.reserve(call("b"))
        assert journal.spent_usd == 2.0
        assert rows(db_path) == [("open", 1.0, 1), ("open", 1.0, 1)]
        await journal.keep(first, ANSWER, 0.1)
        assert journal.spent_usd == 1.5
        await journal.settle(second, REFUSED)
        assert journal.spent_usd == 0.5

    asyncio.run(run())
    assert rows(db_path) == [("answer", 0.5, 0), ("rate_limit", 0.0, 0)]


def test_failed_calls_are_listed_in_order_and_are_not_answers(journals):
    journal = journals()
    useless = Settled("no_list", "no list of slots", "The third.", 100, 4, 0.1, False, 0.2)

    async def run():
        for settled in (TIMEOUT, useless):
            await journal.settle(await journal.reserve(call()), settled)
        await journal.settle(await journal.reserve(call("other")), REFUSED)
        assert isinstance(await journal.reserve(call()), int)  # an open call is no failed one

    asyncio.run(run())
    assert [(attempt.outcome, attempt.reply) for attempt in journal.failed_attempts("k")] == [
        ("timeout", ""),
        ("no_list", "The third."),
    ]
    assert journal.answer("k") is None


def test_calls_marked_for_retry_stay_recorded_but_no_longer_count(journals, db_path):
    async def talk(journal):
        await journal.settle(await journal.reserve(call()), REFUSED)
        await buy(journal, "other")

    journal = journals()
    asyncio.run(talk(journal))
    spent_usd = journal.spent_usd
    assert retry_failed(db_path) == 1
    assert journal.failed_attempts("k") == []
    (attempt,) = journal.failed_attempts("k", with_retried=True)
    assert attempt.outcome == REFUSED.outcome
    assert journal.answer("other") == ANSWER._replace(key="other")
    assert journal.spent_usd == spent_usd
    assert retry_failed(db_path) == 0


def test_an_answer_cannot_be_bought_again(journals):
    journal, other = journals(), journals()

    async def run():
        await buy(journal)
        assert await journal.reserve(call()) is Refused.ANSWERED
        assert await other.reserve(call()) is Refused.ANSWERED

    asyncio.run(run())


def test_a_call_that_could_exceed_the_cap_is_refused_until_another_is_released(journals):
    journal = journals(cap_usd=2.5)

    async def run():
        first = await journal.reserve(call("a"))
        await journal.reserve(call("b"))
        assert await journal.reserve(call("c")) is Refused.OVER_CAP
        assert isinstance(await journal.reserve(call("c", 0.5)), int)
        assert await journal.reserve(call("d", 1e-6)) is Refused.OVER_CAP
        assert isinstance(await journal.reserve(call("free", 0.0)), int)
        await journal.settle(first, REFUSED)
        assert isinstance(await journal.reserve(call("d")), int)

    asyncio.run(run())
    assert journal.spent_usd == 2.5


def test_waiting_for_room_ends_at_once_unless_a_call_of_this_run_is_open(journals):
    journal = journals(cap_usd=1.0)

    async def run():
        assert not await journal.wait_for_room()
        call_id = await journal.reserve(call())
        waiting = asyncio.create_task(journal.wait_for_room())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await journal.settle(call_id, REFUSED)
        assert await waiting
        assert not await journal.wait_for_room()

    asyncio.run(run())


def test_reading_records_nothing_and_leaves_no_lock(journals, db_path):
    assert journals().answer("k") is None
    assert not (db_path.parent / "runs").exists()


def test_waiting_writes_share_one_commit(db_path):
    db_path.parent.mkdir()
    statements = []

    async def run():
        db = connect(db_path)
        db.set_trace_callback(statements.append)
        with closing(db), closing(GroupCommit(db)) as commits:
            entered, release = threading.Event(), threading.Event()

            def slow(db):
                entered.set()
                release.wait(5)

            first = asyncio.ensure_future(commits.run(slow))
            await asyncio.to_thread(entered.wait)
            rest = asyncio.gather(*(commits.run(lambda db, i=i: i) for i in range(50)))
            await asyncio.sleep(0)
            release.set()
            await first
            assert await rest == list(range(50))

    asyncio.run(run())
    assert statements.count("COMMIT") == 2


def test_work_that_raises_writes_nothing_and_fails_for_its_caller(journals, db_path):
    journal = journals()

    async def run():
        call_id = await journal.reserve(call())
        with pytest.raises(Exception, match="constraint"):
            await journal.settle(call_id, TIMEOUT._replace(message=None))
        assert rows(db_path) == [("open", 1.0, 1)]
        await journal.settle(call_id, TIMEOUT)

    asyncio.run(run())
    assert rows(db_path) == [("timeout", 1.0, 1)]


def test_a_write_completes_even_if_its_caller_is_cancelled(journals):
    journal = journals()

    async def run():
        call_id = await journal.reserve(call())
        task = asyncio.create_task(journal.keep(call_id, ANSWER, 0.1))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        journal.close()

    asyncio.run(run())
    assert journals().answer("k") == ANSWER
