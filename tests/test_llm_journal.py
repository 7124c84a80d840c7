"""The journal: what was paid for is kept, no cap is passed, and a dead run's calls are booked."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.errors import DataError
from tasks.llm.journal.books import forgive
from tasks.llm.journal.commits import Commits
from tasks.llm.journal.entries import LOST, Answer, Call, Refused, Settled, answer_key
from tasks.llm.journal.file import connect
from tasks.llm.journal.journal import Journal
from tests.conftest import PROJECT

ANSWER = Answer(
    "mine", "fake-1", '{"picks": [3, 1]} 甲', (3, 1), 120, 8, 0.5, False, ("seed",), "stop"
)
TIMEOUT = Settled("timeout", "no whole reply", "", 1000, 256, 1.0, True, 0.1)
REFUSED = Settled("rate_limit", "too fast", "", 0, 0, 0.0, False, 0.1)
FACTS = {
    "model": "openai/x",
    "messages": [{"role": "user", "content": "Which, 甲 or 乙?"}],
    "temperature": 0.0,
    "seed": 0,
    "max_tokens": 256,
    "schema": "auto",
    "n_picks": 1,
    "rationale": False,
    "vote": 1,
}


def call(key="k", usd=1.0):
    return Call(key, "mine", "openai/fake", 1000, 256, usd)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new folder" / "journal.sqlite"


@pytest.fixture
def journals(path):
    """Opens journals on one file, as so many runs would."""
    with ExitStack() as stack:
        yield lambda **how: stack.enter_context(closing(Journal(path, **how)))


def rows(path, columns="outcome, usd, is_bound"):
    with closing(sqlite3.connect(path)) as db:
        return db.execute(f"SELECT {columns} FROM calls ORDER BY id").fetchall()


async def buy(journal, key="k", answer=ANSWER, usd=1.0):
    call_id = await journal.reserve(call(key, usd))
    assert isinstance(call_id, int)
    await journal.keep(call_id, answer, 0.25)


def test_an_answer_comes_back_as_it_was_kept_after_reopening(path):
    with closing(Journal(path)) as journal:
        assert journal.answer("k") is None
        asyncio.run(buy(journal))
    with closing(Journal(path)) as journal:
        assert journal.answer("k") == ANSWER
    assert rows(path) == [("answer", 0.5, 0)]


def test_an_answer_is_on_disk_for_others_before_the_journal_is_closed(journals):
    journal, other = journals(), journals()
    asyncio.run(buy(journal))
    assert other.answer("k") == ANSWER


def test_a_call_is_booked_at_its_most_and_settled_at_what_it_cost(journals, path):
    journal = journals(cap_usd=5.0)

    async def run():
        first, second = await journal.reserve(call("a")), await journal.reserve(call("b"))
        assert journal.spent_usd == 2.0
        assert rows(path) == [("open", 1.0, 1), ("open", 1.0, 1)]
        await journal.keep(first, ANSWER, 0.1)
        assert journal.spent_usd == 1.5
        await journal.settle(second, REFUSED)
        assert journal.spent_usd == 0.5

    asyncio.run(run())
    assert rows(path) == [("answer", 0.5, 0), ("rate_limit", 0.0, 0)]


def test_failed_calls_are_told_in_their_order_and_are_no_answers(journals):
    journal = journals()
    useless = Settled("no_list", "no list of slots", "The third.", 100, 4, 0.1, False, 0.2)

    async def run():
        for settled in (TIMEOUT, useless):
            await journal.settle(await journal.reserve(call()), settled)
        await journal.settle(await journal.reserve(call("other")), REFUSED)
        assert isinstance(await journal.reserve(call()), int)  # an open call is no failed one

    asyncio.run(run())
    assert [(t.outcome, t.reply) for t in journal.tried("k")] == [
        ("timeout", ""),
        ("no_list", "The third."),
    ]
    assert journal.answer("k") is None


def test_forgiven_calls_stay_on_the_books_and_no_longer_stand_against_asking(journals, path):
    async def talk(journal):
        await journal.settle(await journal.reserve(call()), REFUSED)
        await buy(journal, "other")

    journal = journals()
    asyncio.run(talk(journal))
    spent_usd = journal.spent_usd
    assert forgive(path) == 1
    (tried,) = journal.tried("k")
    assert tried.outcome == f"forgiven {REFUSED.outcome}"
    assert journal.answer("other") == ANSWER
    assert journal.spent_usd == spent_usd
    assert forgive(path) == 0


def test_what_is_answered_cannot_be_bought_again(journals):
    journal, other = journals(), journals()

    async def run():
        await buy(journal)
        assert await journal.reserve(call()) is Refused.ANSWERED
        assert await other.reserve(call()) is Refused.ANSWERED

    asyncio.run(run())


def test_what_is_being_asked_by_a_run_that_lives_cannot_be_bought_beside_it(journals):
    journal, other = journals(), journals()

    async def run():
        call_id = await journal.reserve(call())
        assert await journal.reserve(call()) is Refused.TAKEN
        assert await other.reserve(call()) is Refused.TAKEN
        await journal.settle(call_id, REFUSED)
        assert isinstance(await other.reserve(call()), int)

    asyncio.run(run())


def test_a_call_that_could_pass_the_cap_is_refused_until_another_gives_back(journals):
    journal = journals(cap_usd=2.5)

    async def run():
        first = await journal.reserve(call("a"))
        await journal.reserve(call("b"))
        assert await journal.reserve(call("c")) is Refused.OVER
        assert isinstance(await journal.reserve(call("c", 0.5)), int)
        assert await journal.reserve(call("d", 1e-6)) is Refused.OVER
        assert isinstance(await journal.reserve(call("free", 0.0)), int)
        await journal.settle(first, REFUSED)
        assert isinstance(await journal.reserve(call("d")), int)

    asyncio.run(run())
    assert journal.spent_usd == 2.5


def test_spending_counts_across_runs_of_one_selection_alone(journals):
    async def run():
        journal = journals(selection="a", cap_usd=1.0)
        await buy(journal)
        journal.close()
        again, other = journals(selection="a", cap_usd=1.0), journals(selection="b", cap_usd=1.0)
        assert (again.spent_usd, other.spent_usd) == (0.5, 0.0)
        assert await again.reserve(call("x", 0.6)) is Refused.OVER
        assert isinstance(await other.reserve(call("y", 0.6)), int)
        raised = journals(selection="a", cap_usd=1.2)
        assert isinstance(await raised.reserve(call("x", 0.6)), int)

    asyncio.run(run())


@settings(max_examples=15, deadline=None)
@given(
    prices=st.lists(st.floats(0.001, 1.0), min_size=1, max_size=25),
    cap_usd=st.floats(0.5, 4.0),
)
def test_two_runs_at_once_never_pass_the_cap_they_share(tmp_path_factory, prices, cap_usd):
    """Every call is settled at its most, so that what is booked is also what is paid."""
    path = tmp_path_factory.mktemp("shared") / "journal.sqlite"

    async def spend(name):
        with closing(Journal(path, cap_usd=cap_usd)) as journal:

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
    paid = sum(usd for (usd,) in rows(path, "usd"))
    assert paid <= cap_usd * (1 + 1e-12)
    left = cap_usd - paid
    assert len(rows(path)) == 2 * len(prices) or left < max(prices)  # nor was it refused too early


def test_room_is_waited_for_only_while_a_call_of_this_run_is_under_way(journals):
    journal = journals(cap_usd=1.0)

    async def run():
        assert not await journal.room()
        call_id = await journal.reserve(call())
        waiting = asyncio.create_task(journal.room())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await journal.settle(call_id, REFUSED)
        assert await waiting
        assert not await journal.room()

    asyncio.run(run())


HOLD = """
import asyncio, sys, time
from pathlib import Path
from tasks.llm.journal.entries import Call
from tasks.llm.journal.journal import Journal

async def hold():
    journal = Journal(Path(sys.argv[1]), cap_usd=10.0)
    for key in "ab":
        await journal.reserve(Call(key, "mine", "openai/fake", 1000, 256, 1.0))
    print("open", flush=True)
    time.sleep(60)

asyncio.run(hold())
"""


@pytest.fixture
def holder(path):
    """Another process with two calls under way."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process:
        try:
            assert process.stdout.readline() == "open\n"
            yield process
        finally:
            process.kill()


def test_calls_of_another_process_are_left_to_it_while_it_lives_and_written_off_when_it_was_killed(
    holder, journals, path
):
    journal = journals(cap_usd=10.0)

    async def run():
        assert await journal.reserve(call("a")) is Refused.TAKEN
        assert journal.spent_usd == 2.0
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        assert isinstance(await journal.reserve(call("a")), int)

    asyncio.run(run())
    assert rows(path) == [(LOST, 1.0, 1), (LOST, 1.0, 1), ("open", 1.0, 1)]
    assert journal.spent_usd == 3.0  # what was lost counts as spent in full
    assert [tried.outcome for tried in journal.tried("a")] == [LOST]


def test_the_first_call_of_a_run_writes_off_what_a_killed_one_left_open(holder, journals, path):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    asyncio.run(buy(journals(), "c"))
    assert [outcome for outcome, *_ in rows(path)] == [LOST, LOST, "answer"]
    assert len([*(path.parent / "runs").iterdir()]) == 1  # this run's own lock


def test_a_closed_run_leaves_no_lock_and_its_open_calls_count_as_lost(journals, path):
    async def run():
        interrupted = journals()
        await interrupted.reserve(call("a"))
        interrupted.close()
        await buy(journals(), "b")

    asyncio.run(run())
    assert [outcome for outcome, *_ in rows(path)] == [LOST, "answer"]


def test_reading_alone_books_nothing_and_leaves_no_lock(journals, path):
    assert journals().answer("k") is None
    assert not (path.parent / "runs").exists()


def test_what_waits_together_shares_one_commit(path):
    path.parent.mkdir()
    statements = []

    async def run():
        db = connect(path)
        db.set_trace_callback(statements.append)
        with closing(db), closing(Commits(db)) as commits:
            entered, release = threading.Event(), threading.Event()

            def slow(db):
                entered.set()
                release.wait(5)

            first = asyncio.ensure_future(commits.do(slow))
            await asyncio.to_thread(entered.wait)
            rest = asyncio.gather(*(commits.do(lambda db, i=i: i) for i in range(50)))
            await asyncio.sleep(0)
            release.set()
            await first
            assert await rest == list(range(50))

    asyncio.run(run())
    assert statements.count("COMMIT") == 2


def test_work_that_raises_leaves_nothing_behind_and_tells_who_waits(journals, path):
    journal = journals()

    async def run():
        call_id = await journal.reserve(call())
        with pytest.raises(Exception, match="constraint"):
            await journal.settle(call_id, TIMEOUT._replace(message=None))
        assert rows(path) == [("open", 1.0, 1)]
        await journal.settle(call_id, TIMEOUT)

    asyncio.run(run())
    assert rows(path) == [("timeout", 1.0, 1)]


def test_what_was_begun_is_written_also_when_who_waits_is_cancelled(journals):
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


@pytest.mark.parametrize("name", FACTS)
def test_whatever_changes_an_answer_changes_its_key(name):
    changed = FACTS | {name: [*FACTS[name], {}] if name == "messages" else f"{FACTS[name]}!"}
    assert answer_key(**changed) != answer_key(**FACTS)


def test_the_key_does_not_depend_on_the_order_of_its_facts():
    assert answer_key(**dict(reversed(FACTS.items()))) == answer_key(**FACTS)
    assert len(answer_key(**FACTS)) == 64


def foreign(path):
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE notes (text)")


def torn(path):
    async def fill(journal):
        await asyncio.gather(*(buy(journal, str(i)) for i in range(200)))

    with closing(Journal(path)) as journal:
        asyncio.run(fill(journal))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not a database, but long enough to be taken for one" * 99),
        foreign,
        torn,
    ],
    ids=["emptied", "text", "foreign", "torn"],
)
def test_a_file_that_is_no_sound_journal_is_refused_and_left_as_it_is(tmp_path, spoil):
    path = tmp_path / "journal.sqlite"
    spoil(path)
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"journal\.sqlite.*damaged one"):  # noqa: SIM117
        with closing(Journal(path)) as journal:
            for i in range(200):
                journal.answer(str(i))
    assert path.read_bytes() == before


def test_a_journal_of_another_version_is_refused(path):
    Journal(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 7")
    with pytest.raises(DataError, match="has version 7, this SelectLLM reads 2"):
        Journal(path)


def test_a_journal_in_a_place_that_is_a_folder_is_told(tmp_path):
    (tmp_path / "journal.sqlite").mkdir()
    with pytest.raises(DataError, match="cannot be used"):
        Journal(tmp_path / "journal.sqlite")


def test_a_journal_in_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be used"):
        Journal(tmp_path / "file" / "journal.sqlite")


def test_a_journal_that_is_not_there_is_made_only_where_that_is_meant(path):
    with pytest.raises(DataError, match="there is no journal yet"):
        connect(path, may_create=False)
    assert not path.exists()


def test_a_creation_that_was_killed_half_way_is_begun_anew(path):
    path.parent.mkdir()
    path.with_name(f".{path.name}.part").write_bytes(b"half")
    path.with_name(f".{path.name}.part-journal").write_bytes(b"half")
    Journal(path).close()
    assert [*path.parent.glob(".*.part*")] == []


def test_runs_that_begin_together_make_one_journal(path):
    barrier, made = threading.Barrier(6), []

    def begin():
        barrier.wait()
        with closing(Journal(path)) as journal:
            made.append(journal.spent_usd)

    threads = [threading.Thread(target=begin) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [0.0] * 6


def test_a_locked_journal_is_waited_for(journals, path):
    journal = journals()

    def hold():
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
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
