"""The journal in a PostgreSQL database that several machines share."""

import asyncio
import re
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from tasks.estimate.journal_admin import calls_for, latencies, newest, prune, retry_failed, sums
from tasks.lib.core.errors import DataError, ParamError
from tasks.lib.journal.journal import Journal
from tasks.lib.journal.location import PASSWORD, SharedJournal, journal_place
from tasks.lib.journal.models import LOST, Refused, Settled
from tasks.lib.journal.reader import JournalReader
from tests.conftest import PROJECT
from tests.journal_entries import ANSWER, REFUSED, TIMEOUT, buy, call, rows
from tests.servers import PASSWORD as SECRET
from tests.test_llm_journal import (  # noqa: F401  the same tests, with a database
    test_a_call_is_reserved_at_its_upper_bound_and_settled_at_its_cost,
    test_a_call_that_could_exceed_the_cap_is_refused_until_another_is_released,
    test_a_write_completes_even_if_its_caller_is_cancelled,
    test_an_answer_cannot_be_bought_again,
    test_an_answer_is_on_disk_for_others_before_the_journal_is_closed,
    test_an_answer_is_unchanged_after_reopening,
    test_calls_marked_for_retry_stay_recorded_but_no_longer_count,
    test_failed_calls_are_listed_in_order_and_are_not_answers,
    test_waiting_for_room_ends_at_once_unless_a_call_of_this_run_is_open,
    test_work_that_raises_writes_nothing_and_fails_for_its_caller,
)
from tests.test_llm_journal_runs import (  # noqa: F401
    test_a_closed_run_leaves_no_lock_and_its_open_calls_count_as_lost,
    test_an_open_call_of_a_live_run_cannot_be_made_twice,
    test_runs_that_begin_together_create_one_journal,
    test_spending_counts_across_all_runs_of_the_same_selection,
)

pytestmark = pytest.mark.slow  # ten seconds in all; skipped where PostgreSQL is not installed


@pytest.fixture(scope="module")
def database(postgresql):
    return postgresql.new_database()


@pytest.fixture
def db_path(postgresql, database, tmp_path, monkeypatch):
    """Return where a new, empty shared journal is."""
    monkeypatch.setenv(PASSWORD, SECRET)
    postgresql.execute(database, "DROP SCHEMA IF EXISTS selectllm CASCADE")
    url = postgresql.url(database)
    place = journal_place(tmp_path, {"llm_select": {"journal": url}})
    assert isinstance(place, SharedJournal)
    return place


SPEND = """
import asyncio, sys
from pathlib import Path
from tasks.lib.journal.journal import Journal
from tasks.lib.journal.models import Call, Settled
from tasks.lib.journal.location import SharedJournal

async def spend():
    journal = Journal(SharedJournal(sys.argv[1], Path(sys.argv[2])), cap_usd=2.0)
    async def one(i):
        call_id = await journal.reserve(Call(f"{sys.argv[3]}{i}", "mine", "fake", 9, 9, 0.03, True))
        if isinstance(call_id, int):
            await journal.settle(call_id, Settled("timeout", "", "", 9, 9, 0.03, True, 0.1))
    print("ready", flush=True)
    sys.stdin.readline()
    await asyncio.gather(*(one(i) for i in range(60)))
    journal.close()

asyncio.run(spend())
"""

HOLD = """
import asyncio, sys, time
from pathlib import Path
from tasks.lib.journal.journal import Journal
from tasks.lib.journal.models import Call
from tasks.lib.journal.location import SharedJournal

async def hold():
    journal = Journal(SharedJournal(sys.argv[1], Path(sys.argv[2])), cap_usd=10.0)
    for key in "ab":
        await journal.reserve(Call(key, "mine", "openai/fake", 1000, 256, 1.0, True))
    print("open", flush=True)
    time.sleep(60)

asyncio.run(hold())
"""


def machine(code, place, *words):
    """Start a process that knows only the database, as another machine would."""
    return subprocess.Popen(
        [sys.executable, "-c", code, place.url, str(Path("/nowhere")), *words],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_four_machines_at_once_never_exceed_the_cap_they_share(db_path):
    machines = [machine(SPEND, db_path, name) for name in "abcd"]
    for each in machines:
        assert each.stdout.readline() == "ready\n"
    for each in machines:
        each.stdin.write("go\n")
        each.stdin.flush()
    for each in machines:
        assert each.wait() == 0
        each.stdin.close()
        each.stdout.close()
    paid = [usd for (usd,) in rows(db_path, "usd")]
    assert len(paid) == 66  # of 240, each at 0.03, under a cap of 2
    assert sum(paid) <= 2.0


def test_calls_of_another_machine_are_written_off_only_after_it_died(db_path, journals):
    journal = journals(cap_usd=10.0)
    with machine(HOLD, db_path) as other:
        assert other.stdout.readline() == "open\n"

        async def run():
            assert await journal.reserve(call("a")) is Refused.TAKEN
            assert journal.spent_usd == 2.0
            other.kill()
            other.wait()
            while await journal.reserve(call("a")) is Refused.TAKEN:
                await asyncio.sleep(0.01)  # the server notices at once, but not in no time

        asyncio.run(run())
    assert rows(db_path) == [(LOST, 1.0, 1), (LOST, 1.0, 1), ("open", 1.0, 1)]
    assert journal.spent_usd == 3.0  # what was lost counts as spent in full


def test_a_run_waits_for_another_that_writes(db_path, journals, postgresql, database):
    journal = journals()
    locked, release = threading.Event(), threading.Event()
    import psycopg  # noqa: PLC0415

    def hold():
        with psycopg.connect(db_path.url, password=SECRET) as connection:
            connection.execute("LOCK TABLE selectllm.spending IN EXCLUSIVE MODE")
            locked.set()
            release.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    locked.wait()

    async def run():
        buying = asyncio.create_task(buy(journal))
        while not postgresql.execute(database, "SELECT 1 FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.01)
        assert not buying.done()
        release.set()
        await buying

    asyncio.run(run())
    thread.join()
    assert journal.answer("k") == ANSWER


def test_texts_that_postgresql_cannot_store_come_back_unchanged(db_path, journals):
    text = "a\x00b\x1a0c\x1aS\x1a\x00%s %% ? 甲 \"'\\"
    answer = ANSWER._replace(text=text, model="fa\x00ke", finish_reason="\x00")
    reply = Settled("no_list", f"{text}?", text, 1, 2, 0.1, False, 0.2, 0, 0, text)

    async def run():
        journal = journals()
        await buy(journal, answer=answer)
        await journal.settle(await journal.reserve(call("x")), reply)

    asyncio.run(run())
    with closing(JournalReader(db_path)) as reader:
        assert reader.answer("k") == answer
        assert reader.answer("k").digest == answer.digest
        assert reader.failed_attempts("x")[0].reply == text


def test_an_answer_that_was_edited_in_the_database_is_named(
    db_path,
    journals,
    postgresql,
    database,
):
    asyncio.run(buy(journals()))
    postgresql.execute(database, "UPDATE selectllm.answers SET parsed = '[3, 1' WHERE key = 'k'")
    with closing(JournalReader(db_path)) as reader, pytest.raises(DataError, match="was changed"):
        reader.answer("k")


def test_the_commands_for_journals_work_on_a_database(db_path, journals):
    async def run():
        journal = journals()
        for i in range(12):
            await buy(journal, f"k{i}")
        await journal.settle(await journal.reserve(call("x")), TIMEOUT)
        await journal.settle(await journal.reserve(call("x")), REFUSED)

    asyncio.run(run())
    assert [row["key"] for row in newest(db_path, 2)] == ["k11", "k10"]
    assert {(row["outcome"], row["calls"], row["unknown"]) for row in sums(db_path)} == {
        ("answer", 12, 0),
        ("rate_limit", 1, 0),
        ("timeout", 1, 1),
    }
    assert [row["outcome"] for row in calls_for(db_path, "x")] == ["timeout", "rate_limit"]
    assert latencies(db_path) == {"openai/fake": (0.25, 0.25)}
    assert retry_failed(db_path) == 2
    assert prune(db_path, "2026-01-01", dry_run=False) == 0
    assert prune(db_path, "9999-01-01", dry_run=False) == 12
    assert newest(db_path, 2) == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda url: re.sub(r":\d+/", ":1/", url), "Connection refused"),
        (lambda url: f"{url}_", "does not exist"),
        (lambda url: url.replace("reader", "nobody"), "password authentication failed"),
        (lambda url: f"{url}?nonsense=1", "invalid URI query parameter"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_sentence_without_the_password(db_path, change, what):
    place = SharedJournal(change(db_path.url), db_path.folder)
    with pytest.raises(DataError, match=what) as caught:
        Journal(place)
    assert SECRET not in str(caught.value)
    assert "\n" not in caught.value.what


def test_a_database_without_a_journal_is_not_read(db_path):
    with pytest.raises(DataError, match="there is no journal yet"):
        JournalReader(db_path)


def test_a_database_that_cannot_store_every_text_is_refused(postgresql, db_path):
    name = f"latin{db_path.url.rpartition('/')[2]}"
    how = "TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"
    postgresql.execute("postgres", f"CREATE DATABASE {name} {how}")
    with pytest.raises(DataError, match="expected a database with the encoding UTF8, not LATIN1"):
        Journal(SharedJournal(postgresql.url(name, "postgresql"), db_path.folder))


def test_a_server_that_stops_during_a_run_ends_it_with_one_sentence(
    db_path,
    journals,
    postgresql,
):
    journal = journals(cap_usd=5.0)

    async def run():
        call_id = await journal.reserve(call())
        postgresql.stop()
        try:
            with pytest.raises(DataError, match="the journal cannot be used"):
                await journal.keep(call_id, ANSWER, 0.1)
        finally:
            postgresql.start()

    asyncio.run(run())
    again = journals(cap_usd=5.0)
    asyncio.run(buy(again))
    assert again.spent_usd == 1.5  # the interrupted call counts in full


@pytest.mark.parametrize(
    ("section", "what"),
    [
        ({"journal": "mysql://x@h/d"}, "expected the URL of a PostgreSQL database"),
        ({"journal": 7}, "expected the URL of a PostgreSQL database"),
        ({"journal": "postgresql://u:secret@h/d"}, "contains a password"),
        ({"journal": "postgresql://h/d?user=u&password=secret"}, "contains a password"),
        ({"journal": "postgresql://u@h/d", "batch": True}, "batches need a journal on this"),
    ],
)
def test_a_wrong_place_for_the_journal_is_refused_without_showing_a_password(
    tmp_path, section, what
):
    with pytest.raises(ParamError, match=what) as caught:
        journal_place(tmp_path, {"llm_select": section})
    assert "secret" not in str(caught.value)


def test_a_paid_batch_of_the_own_journal_is_not_forgotten(tmp_path):
    (tmp_path / "batches").mkdir()
    (tmp_path / "batches" / "batch-1.json").write_text("{}")
    with pytest.raises(DataError, match="is unfinished"):
        journal_place(tmp_path, {"llm_select": {"journal": "postgresql://u@h/d"}})
