"""The journal keeps what was paid for, and never starts anew over something else."""

import sqlite3
from contextlib import closing

import pytest

from tasks.core.errors import DataError
from tasks.llm.answer import AnswerFault
from tasks.llm.journal import Answer, Attempt, Journal, answer_key

ANSWER = Answer("fake-1", '{"picks": [3, 1]}', (3, 1), 120, 8, 0.5, "stop", 0.25)
FACTS = {
    "model": "openai/x",
    "messages": [{"role": "user", "content": "Which, 甲 or 乙?"}],
    "temperature": 0.0,
    "seed": 0,
    "max_tokens": 256,
    "schema": "auto",
    "n_picks": 1,
    "vote": 1,
}


def test_an_answer_comes_back_as_it_was_kept_after_reopening(tmp_path):
    path = tmp_path / "new folder" / "journal.sqlite"
    with closing(Journal(path)) as journal:
        assert journal.answer("k") is None
        journal.add_answer("k", ANSWER)
    with closing(Journal(path)) as journal:
        assert journal.answer("k") == ANSWER


def test_an_answer_is_on_disk_for_others_before_the_journal_is_closed(tmp_path):
    path = tmp_path / "journal.sqlite"
    with closing(Journal(path)) as journal, closing(Journal(path)) as other:
        journal.add_answer("k", ANSWER)
        assert other.answer("k") == ANSWER


def test_the_first_answer_under_a_key_stays(tmp_path):
    with closing(Journal(tmp_path / "journal.sqlite")) as journal:
        journal.add_answer("k", ANSWER)
        assert journal.add_answer("k", ANSWER._replace(picks=(2,))) == ANSWER
        assert journal.answer("k") == ANSWER


def test_failed_calls_are_counted_by_kind_and_are_no_answers(tmp_path):
    with closing(Journal(tmp_path / "journal.sqlite")) as journal:
        for kind in (AnswerFault.NO_LIST, AnswerFault.TOO_FEW, "timeout"):
            journal.add_attempt("k", Attempt(kind, "words", None, None, None, 0.1))
        journal.add_attempt("other", Attempt(AnswerFault.NO_LIST, "words", 5, 5, 0.1, 0.1))
        assert journal.n_attempts("k", tuple(AnswerFault)) == 2
        assert journal.answer("k") is None


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
    with closing(Journal(path)) as journal:
        for i in range(200):
            journal.add_answer(str(i), ANSWER)
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


def test_a_journal_of_another_version_is_refused(tmp_path):
    path = tmp_path / "journal.sqlite"
    Journal(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 7")
    with pytest.raises(DataError, match="has version 7, this SelectLLM reads 1"):
        Journal(path)


def test_a_journal_in_a_place_that_is_a_folder_is_told(tmp_path):
    (tmp_path / "journal.sqlite").mkdir()
    with pytest.raises(DataError, match="cannot be used"):
        Journal(tmp_path / "journal.sqlite")
