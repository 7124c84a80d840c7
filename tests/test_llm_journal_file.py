"""The journal's file is created completely or not at all, and never overwrites another file."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from tasks.lib.core.errors import DataError
from tasks.lib.journal.journal import Journal
from tasks.lib.journal.schema import connect_existing
from tests.journal_entries import buy


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new folder" / "journal.sqlite"


def foreign(path):
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE notes (text)")


def truncated(path):
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
        truncated,
    ],
    ids=["emptied", "text", "foreign", "truncated"],
)
def test_a_file_that_is_not_a_valid_journal_is_refused_and_left_unchanged(tmp_path, spoil):
    path = tmp_path / "journal.sqlite"
    spoil(path)
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"journal\.sqlite.*it is damaged"):  # noqa: SIM117
        with closing(Journal(path)) as journal:
            for i in range(200):
                journal.answer(str(i))
    assert path.read_bytes() == before


def test_a_journal_of_another_version_is_refused(path):
    Journal(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 7")
    with pytest.raises(DataError, match="has version 7; this version of SelectLLM reads 2 to 4"):
        Journal(path)


def test_connecting_to_an_existing_journal_never_creates_one(path):
    with pytest.raises(DataError, match="there is no journal yet"):
        connect_existing(path)
    assert not path.exists()


def test_a_creation_killed_halfway_starts_over(path):
    path.parent.mkdir()
    path.with_name(f".{path.name}.part").write_bytes(b"half")
    path.with_name(f".{path.name}.part-journal").write_bytes(b"half")
    Journal(path).close()
    assert [*path.parent.glob(".*.part*")] == []


@pytest.mark.parametrize("tail", ["folder", "file/journal.sqlite"])
def test_a_path_at_which_no_file_can_be_created_is_refused(tmp_path, tail):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be used"):
        Journal(tmp_path / tail)
