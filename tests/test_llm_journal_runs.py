"""A journal that several runs use at once, some of which die."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.lib.journal.journal import Journal
from tasks.lib.journal.models import LOST, Refused, SelectionName
from tests.conftest import PROJECT
from tests.journal_entries import ANSWER, REFUSED, TIMEOUT, buy, call, rows

A, B = SelectionName("a"), SelectionName("b")


def test_an_open_call_of_a_live_run_cannot_be_made_twice(journals):
    journal, other = journals(), journals()

    async def run():
        call_id = await journal.reserve(call())
        assert await journal.reserve(call()) is Refused.TAKEN
        assert await other.reserve(call()) is Refused.TAKEN
        await journal.settle(call_id, REFUSED)
        assert isinstance(await other.reserve(call()), int)

    asyncio.run(run())


def test_spending_counts_across_all_runs_of_the_same_selection(journals):
    async def run():
        journal = journals(selection=A, cap_usd=1.0)
        await buy(journal)
        journal.close()
        again, other = journals(selection=A, cap_usd=1.0), journals(selection=B, cap_usd=1.0)
        assert (again.spent_usd, other.spent_usd) == (0.5, 0.0)
        assert await again.reserve(call("x", 0.6)) is Refused.OVER_CAP
        assert isinstance(await other.reserve(call("y", 0.6)), int)
        raised = journals(selection=A, cap_usd=1.2)
        assert isinstance(await raised.reserve(call("x", 0.6)), int)

    asyncio.run(run())


@settings(max_examples=15)
@given(
    prices=st.lists(st.floats(0.001, 1.0), min_size=1, max_size=25),
    cap_usd=st.floats(0.5, 4.0),
)
def test_two_runs_at_once_never_exceed_the_cap_they_share(tmp_path_factory, prices, cap_usd):
    """Every call is settled at its upper bound, so the recorded sum equals the paid sum."""
    db_path = tmp_path_factory.mktemp("shared") / "journal.sqlite"

    async def spend(name):
        with closing(Journal(db_path, cap_usd=cap_usd)) as journal:

            async def one(i, usd):
                call_id = await journal.reserve(call(f"{name}{i}", usd))
                if isinstance(call_id, int):
                    await asyncio.sleep(0)
                    assert journal.spent_usd <= cap_usd
                    await journal.settle(call_id, TIMEOUT._replace(usd=usd))

            await asyncio.gather(*(one(i, usd) for i, usd in enumerate(prices)))

    failures = []

    def run(name):
        try:
            asyncio.run(spend(name))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    paid = sum(usd for (usd,) in rows(db_path, "usd"))
    assert paid <= cap_usd * (1 + 1e-12)
    left = cap_usd - paid
    assert len(rows(db_path)) == 2 * len(prices) or left < max(
        prices
    )  # nor was it refused too early


HOLD = """
import asyncio, sys, time
from pathlib import Path
from tasks.lib.journal.models import Call
from tasks.lib.journal.journal import Journal

async def hold():
    journal = Journal(Path(sys.argv[1]), cap_usd=10.0)
    for key in "ab":
        await journal.reserve(Call(key, "mine", "openai/fake", 1000, 256, 1.0, True))
    print("open", flush=True)
    time.sleep(60)

asyncio.run(hold())
"""


@pytest.fixture
def holder(db_path):
    """Start another process with two open calls."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(db_path)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process:
        try:
            assert process.stdout.readline() == "open\n"
            yield process
        finally:
            process.kill()


def test_calls_of_another_process_are_written_off_only_after_it_was_killed(
    holder, journals, db_path
):
    journal = journals(cap_usd=10.0)

    async def run():
        assert await journal.reserve(call("a")) is Refused.TAKEN
        assert journal.spent_usd == 2.0
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        assert isinstance(await journal.reserve(call("a")), int)

    asyncio.run(run())
    assert rows(db_path) == [(LOST, 1.0, 1), (LOST, 1.0, 1), ("open", 1.0, 1)]
    assert journal.spent_usd == 3.0  # what was lost counts as spent in full
    assert [attempt.outcome for attempt in journal.failed_attempts("a")] == [LOST]


def test_the_first_call_of_a_run_writes_off_the_open_calls_of_a_killed_run(
    holder, journals, db_path
):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    asyncio.run(buy(journals(), "c"))
    assert [outcome for outcome, *_ in rows(db_path)] == [LOST, LOST, "answer"]
    assert len([*(db_path.parent / "runs").iterdir()]) == 1  # this run's own lock


def test_a_closed_run_leaves_no_lock_and_its_open_calls_count_as_lost(journals, db_path):
    async def run():
        interrupted = journals()
        await interrupted.reserve(call("a"))
        interrupted.close()
        await buy(journals(), "b")

    asyncio.run(run())
    assert [outcome for outcome, *_ in rows(db_path)] == [LOST, "answer"]


def test_runs_that_begin_together_create_one_journal(db_path):
    barrier, made = threading.Barrier(6), []

    def begin():
        barrier.wait()
        with closing(Journal(db_path)) as journal:
            made.append(journal.spent_usd)

    threads = [threading.Thread(target=begin) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [0.0] * 6


def test_a_run_waits_for_a_locked_journal(journals, db_path):
    journal = journals()

    def hold():
        with closing(sqlite3.connect(db_path, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            locked.set()
            time.sleep(0.3)
            db.execute("COMMIT")

    locked = threading.Event()
    thread = threading.Thread(target=hold)
    thread.start()
    locked.wait()
    asyncio.run(buy(journal))
    thread.join()
    assert journal.answer("k") == ANSWER
