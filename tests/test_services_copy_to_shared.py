"""A machine's own journal, copied into the database that replaces it."""

import asyncio
import json
import shutil
import subprocess
import sys
from contextlib import closing

import pytest

from flows.cli.machine_checks import require_surroundings, shared_journal
from tasks.lib.core.errors import DataError
from tasks.lib.core.stage import JOURNAL, STATE_DIR, Stage
from tasks.lib.journal.copy_to_shared import lacks_own, share_own
from tasks.lib.journal.journal import Journal
from tasks.lib.journal.location import SharedJournal
from tasks.lib.journal.models import LOST, Refused, SelectionName
from tasks.lib.journal.reader import JournalReader
from tasks.lib.journal.schema import connect_existing
from tasks.llm_select.step import work as llm_select
from tests.conftest import PROJECT
from tests.journal_entries import ANSWER, REFUSED, TIMEOUT, buy, call, rows
from tests.test_former_journal import SPENT_USD, provider, root  # noqa: F401  fixtures
from tests.test_services_journal import database, db_path  # noqa: F401  fixtures
from tests.workspaces import StepWorkspace

# ruff: noqa: F811  fixtures of other files
pytestmark = pytest.mark.slow  # ten seconds in all; skipped where PostgreSQL is not installed

NIGHTLY = SelectionName("nightly")


@pytest.fixture
def own(db_path):
    """Return where the machine's own journal is."""
    return db_path.folder / JOURNAL


def fill(place, *keys, selection=NIGHTLY):
    """Buy an answer for each key, each after a call that failed."""

    async def run():
        with closing(Journal(place, selection)) as journal:
            for key in keys:
                await journal.settle(await journal.reserve(call(key)), TIMEOUT)
                await buy(journal, key)

    asyncio.run(run())


def spent(place, selection=NIGHTLY):
    with closing(Journal(place, selection)) as journal:
        return journal.spent_usd


def test_what_a_machine_bought_before_is_not_bought_again_and_counts_for_the_cap(db_path, own):
    fill(own, "a", "b")
    before = own.read_bytes()
    with closing(Journal(db_path, NIGHTLY, cap_usd=3.5)) as journal:
        assert journal.answer("a") == ANSWER._replace(key="a")
        assert journal.spent_usd == 3.0
        assert [f.outcome for f in journal.failed_attempts("b")] == ["timeout"]
        assert asyncio.run(journal.reserve(call("a"))) is Refused.ANSWERED
        assert asyncio.run(journal.reserve(call("c"))) is Refused.OVER_CAP
    assert rows(db_path) == rows(own)
    assert own.read_bytes() == before


def test_copying_again_adds_only_what_is_new(db_path, own, tmp_path):
    fill(own, "a")
    assert str(share_own(db_path)) == (
        "copied from this machine's own journal to the database: answers 1, calls 2 (1.50 USD)"
    )
    assert not lacks_own(db_path)
    assert share_own(db_path) is None
    (other := SharedJournal(db_path.url, tmp_path / "other")).folder.mkdir()
    shutil.copy(own, other.folder / JOURNAL)
    assert share_own(other) is None
    fill(other.folder / JOURNAL, "b")
    fill(own, "c", "d")
    assert share_own(other)[:2] == (1, 2)
    assert lacks_own(db_path)
    assert share_own(db_path)[:2] == (2, 4)
    assert len(rows(db_path)) == 8
    assert spent(db_path) == 4 * 1.5


def test_an_answer_that_two_machines_bought_is_kept_once_and_paid_twice(db_path, own):
    fill(db_path, "a")
    fill(own, "a", "b", selection=SelectionName("weekly"))
    fill(own, "c")
    assert share_own(db_path)[:2] == (2, 6)
    assert (spent(db_path), spent(db_path, SelectionName("weekly"))) == (3.0, 3.0)


def test_calls_that_a_killed_run_left_open_are_copied_as_lost(db_path, own):
    async def leave_open():
        with closing(Journal(own, NIGHTLY)) as journal:
            await journal.reserve(call("a", usd=2.0))
            with pytest.raises(DataError, match="a run is using this machine's own journal"):
                share_own(db_path)

    asyncio.run(leave_open())
    assert share_own(db_path)[:2] == (0, 1)
    assert rows(db_path) == [(LOST, 2.0, 1)]
    assert spent(db_path) == 2.0
    fill(own, "a")
    assert share_own(db_path)[:2] == (1, 2)
    assert spent(db_path) == 3.5


def test_machines_that_copy_one_journal_at_once_copy_it_once(db_path, own):
    fill(own, *map(str, range(20)))
    code = (
        "import sys; from pathlib import Path; "
        "from tasks.lib.journal.location import SharedJournal; "
        "from tasks.lib.journal.copy_to_shared import share_own; "
        "share_own(SharedJournal(sys.argv[1], Path(sys.argv[2])))"
    )
    command = [sys.executable, "-c", code, db_path.url, str(db_path.folder)]
    machines = [subprocess.Popen(command, cwd=PROJECT) for _ in range(3)]
    assert [machine.wait() for machine in machines] == [0, 0, 0]
    assert rows(db_path) == rows(own)
    assert spent(db_path) == 30.0


def test_a_copy_that_fails_leaves_nothing_and_can_be_repeated(
    db_path,
    own,
    postgresql,
    database,
):
    fill(own, "a", "b")
    Journal(SharedJournal(db_path.url, own.parent / "nowhere")).close()
    full = "ALTER TABLE selectllm.answers ADD CONSTRAINT full_disk CHECK (key != 'b')"
    postgresql.execute(database, full)
    with pytest.raises(DataError, match=r"the journal cannot be used.*full_disk"):
        share_own(db_path)
    assert rows(db_path) == []
    postgresql.execute(database, "ALTER TABLE selectllm.answers DROP CONSTRAINT full_disk")
    assert share_own(db_path)[:2] == (2, 4)


def test_texts_that_postgresql_cannot_store_are_copied_unchanged(db_path, own):
    text = "a\x00b\x1a0c\x1aS%s ? 甲"

    async def run():
        with closing(Journal(own, NIGHTLY)) as journal:
            await buy(journal, "a", ANSWER._replace(text=text))
            await journal.settle(
                await journal.reserve(call("x")), REFUSED._replace(reply=text, remark=text)
            )

    asyncio.run(run())
    share_own(db_path)
    with closing(JournalReader(db_path)) as reader:
        assert reader.answer("a") == ANSWER._replace(key="a", text=text)
        assert reader.failed_attempts("x")[0].reply == text


@pytest.mark.parametrize("is_migrated_first", [False, True])
def test_a_journal_of_version_2_keeps_its_answers_and_its_spending(
    root,
    provider,
    db_path,
    is_migrated_first,
):
    if is_migrated_first:
        Stage("llm_select", root).run(llm_select)
    StepWorkspace(root).update(llm_select={"journal": db_path.url})
    Stage("llm_select", root).run(llm_select)
    assert not provider.calls
    usage = json.loads((root / "data/llm_select/usage.json").read_text())
    assert usage["answers"] == {"mine": 14, "other": 2}
    with closing(connect_existing(db_path)) as db:
        usd = [usd for (usd,) in db.execute("SELECT usd FROM spending")]
    assert [round(each, 6) for each in usd].count(SPENT_USD) == 2  # under both names


def test_doctor_and_a_run_say_what_is_copied(db_path, own, tmp_path, capsys):
    (tmp_path / STATE_DIR).mkdir()
    place = SharedJournal(db_path.url, tmp_path / STATE_DIR)
    fill(place.folder / JOURNAL, "a")
    (tmp_path / "params.yaml").write_text(f"llm_select: {{journal: '{db_path.url}'}}")

    def found():
        return [(each.status.name, each.what) for each in shared_journal(tmp_path)]

    shown = db_path.url.replace("reader", "[hidden]")
    usable = ("OK", f"journal: the database {shown} can be used")
    lacking = "journal: the database lacks calls that are in this machine's own journal"
    assert found() == [usable, ("WARNING", lacking)]
    require_surroundings(tmp_path)
    assert "to the database: answers 1, calls 2 (1.50 USD)" in capsys.readouterr().err
    assert found() == [usable]
